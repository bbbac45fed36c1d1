"""Runs faults in this process, one after the other, and writes what became of each.

    python -m faults.observe PACKAGE RESULTS TEST...

PACKAGE holds the modules with the tests ("faults.cases", or their translation for another harness), TEST is
"theme.Class.test_method". RESULTS gets one `Observation` as a line of JSON after each test, so that nothing is lost
where a fault ends this process. With `--untouched`, a test runs after each fault that finds everything in order. With
`--reuse-ranks`, for which TORCH_TESTING_SHIM_REUSE_RANKS is set, a test of its class runs before and after each fault.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import unittest
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faults import untouched
from faults.fault import Ending
from faults.faulty import FAULT_TIMES, IN_ORDER, first_strike, last_first_strike
from faults.surroundings import MARK, Surroundings, kill_marked
from torch_testing_shim._engine.launcher import STARTER

#: A report that is longer is cut here; what is looked for stands before.
_REPORT_CHARACTERS = 300_000


@dataclass(frozen=True)
class Observation:
    """The result of one fault."""

    test: str  # "Class.test_method"
    ending: Ending  # what the harness said
    report: str = ""  # its message, from the headline on; empty for a pass
    #: When the test was started, on the monotonic clock, in seconds. Of one that has run twice, in reused ranks and in
    #: fresh ones, when the fault happened in those.
    started: float = 0.0
    struck: float | None = None  # when the fault happened; None where it did not
    ended: float = 0.0  # when the test was over, its clean-up included
    left: tuple[str, ...] = ()  # what was left of it then
    untouched: str = ""  # what the next test found wrong; empty where it passed or there was none

    @property
    def headline(self) -> str:
        return self.report.partition("\n")[0]

    @property
    def seconds(self) -> float | None:
        """From the fault to the verdict; None where one of them is missing."""
        return None if self.struck is None or self.ending is Ending.NONE else self.ended - self.struck

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"ending": self.ending.value})


def read_observations(path: Path) -> list[Observation]:
    """The observations in a file that `main` wrote; none where it did not come so far."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [Observation(**line | {"ending": Ending(line["ending"]), "left": tuple(line["left"])}) for line in lines]


class FirstWord(unittest.TestResult):
    """What is said first of a test counts: what went wrong before all else."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[Ending, str]] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.said.append((Ending.PASSED, ""))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.said.append((Ending.FAILED, str(err[1])))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.said.append((Ending.ERROR, str(err[1])))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.said.append((Ending.SKIPPED, reason))

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.said.append((Ending.EXPECTED_FAILURE, str(err[1])))

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.said.append((Ending.UNEXPECTED_SUCCESS, ""))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("results", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--untouched", action="store_true")
    parser.add_argument("--reuse-ranks", action="store_true")
    chosen = parser.parse_args(arguments)
    tests = {name: _test(chosen.package, name) for name in chosen.tests}  # all are loaded before the first one runs
    if chosen.untouched and (wrong := _wrong_around(untouched.Meeting)):
        raise SystemExit(f"the test that is to find everything in order fails before any fault: {wrong}")
    with chosen.results.open("a", buffering=1) as results:
        for name, test in tests.items():
            observe = _observe_in_reused_ranks if chosen.reuse_ranks else _observe
            observation = observe(name, test)
            if chosen.untouched:
                kind = untouched.Meeting if name == chosen.tests[-1] else untouched.Untouched
                observation = replace(observation, untouched=observation.untouched or _wrong_around(kind))
            results.write(observation.to_json() + "\n")


def _test(package: str, name: str) -> unittest.TestSuite:
    """A test as its own suite. The module is imported here, since unittest hides why it could not be."""
    theme, _, test = name.partition(".")
    module = importlib.import_module(f"{package}.{theme}")
    return unittest.TestSuite([unittest.defaultTestLoader.loadTestsFromName(test, module)])


def _wrong_around(kind: type[unittest.TestCase]) -> str:
    """Return what the test finds wrong that has to find everything in order."""
    ending, report = _said_of(unittest.TestSuite([kind("test_untouched")]))
    return report if ending is not Ending.PASSED else ""


def _said_of(suite: unittest.TestSuite) -> tuple[Ending, str]:
    result = FirstWord()
    suite.run(result)
    return result.said[0] if result.said else (Ending.NONE, "")


def _observe_in_reused_ranks(name: str, suite: unittest.TestSuite) -> Observation:
    """Observes a fault between two runs of the test of its class that finds everything in order. In a class whose
    tests all end badly, by its `setUp`, that test does too, but alike."""
    ((test,),) = suite
    before = _said_of(unittest.TestSuite([type(test)(IN_ORDER)]))
    observation = _observe(name, suite)
    again = last_first_strike(Path(os.environ[FAULT_TIMES]))
    if again is not None and again != observation.struck:
        observation = replace(observation, started=again, struck=again)
    after = _said_of(unittest.TestSuite([type(test)(IN_ORDER)]))
    return observation if after[0] is before[0] else replace(observation, untouched=f"its class: {after[1]}")


def _observe(name: str, suite: unittest.TestSuite) -> Observation:
    times = Path(os.environ[FAULT_TIMES])
    for strike in times.iterdir():
        strike.rmdir()
    before = Surroundings.now()
    started = time.monotonic()
    ending, report = _said_of(suite)
    ended = time.monotonic()
    left = Surroundings.now().more_than(before)
    if left:  # so that it is not told of the next fault, too
        kill_marked(os.environ[MARK], {os.getpid(), *STARTER.kept[0]})
    test = name.partition(".")[2]
    return Observation(test, ending, report[:_REPORT_CHARACTERS], started, first_strike(times), ended, tuple(left))


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
