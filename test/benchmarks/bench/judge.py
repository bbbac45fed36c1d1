"""Runs the tests of a module and writes what became of each: `python judge.py MODULE RESULTS.json`.

By unittest alone and not by a harness's `run_tests`, so that all harnesses are asked in the same way.
"""

from __future__ import annotations

import json
import sys
import time
import unittest
from pathlib import Path
from typing import Any


class Words(unittest.TestResult):
    """One word and the seconds for each test."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, tuple[str, float]] = {}
        self._started = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._started = time.monotonic()

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "ok")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "FAIL")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "ERROR")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped")

    def _note(self, test: unittest.TestCase, word: str) -> None:
        self.words[test.id().rpartition(".")[2]] = (word, round(time.monotonic() - self._started, 2))


def main(module: str, results: str) -> None:
    words = Words()
    unittest.defaultTestLoader.loadTestsFromName(module).run(words)
    Path(results).write_text(json.dumps(words.words))


if __name__ == "__main__":
    main(*sys.argv[1:])
