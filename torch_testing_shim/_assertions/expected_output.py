"""Assertions on text that people read; what they expect stands in the source itself, or in a file beside the test.

A run that accepts what came out (`--accept`, EXPECTTEST_ACCEPT=1) rewrites both kinds of expectation.
Each method keeps the name, signature and meaning of upstream's (torch 2.13).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import expecttest

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# ECMA-48: ESC and one character, or ESC [ and a control sequence
_ANSI_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class ExpectedOutput(expecttest.TestCase):
    """`assertExpectedInline` and its relatives."""

    def assertExpectedInline(
        self,
        actual: Any,
        expect: str,
        skip: int = 0,
        ignore_comments: bool = False,
        ignore_empty_lines: bool = False,
    ) -> None:
        """Fails unless `str(actual)`, without terminal colours, is `expect`, a string literal of the source.

        Args:
            skip: how many callers stand between this call and the literal.
            ignore_comments: lines that begin with # do not count.
            ignore_empty_lines: blank lines do not count.
        """

        def relevant(text: str) -> str:
            lines = _ANSI_ESCAPE.sub("", text).split("\n")
            if ignore_comments:
                lines = [line for line in lines if not line.lstrip().startswith("#")]
            if ignore_empty_lines:
                lines = [line for line in lines if line.strip()]
            return "\n".join(lines)

        super().assertExpectedInline(relevant(str(actual)), relevant(expect), skip + 1)

    def assertExpected(self, s: str, subname: str | None = None) -> None:
        """Fails unless `s` is what the file `expect/Class.test_name[-subname].expect` beside the test file holds.

        Raises:
            TypeError: `s` is not a string.
        """
        if not isinstance(s, str):
            raise TypeError(f"assertExpected compares a string, not a {type(s).__name__}")
        name = f"{type(self).__qualname__}.{self._testMethodName}"
        test_file = Path(str(sys.modules[type(self).__module__].__file__)).resolve()
        path = test_file.parent / "expect" / f"{name}{f'-{subname}' if subname else ''}.expect"
        expected = path.read_text(encoding="utf-8") if path.is_file() else None
        if expected == s:
            return
        if getattr(expecttest, "ACCEPT", False):
            print(f"Accepting new output of {name} in {path}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(s, encoding="utf-8")
        elif expected is None:
            self.fail(f"{path} is not there; to make it of this output, run {name} with --accept:\n\n{s}")
        else:
            self.assertMultiLineEqual(expected, s)

    def assertExpectedRaises(
        self, exc_type: type[BaseException], callable: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Fails unless `callable(*args, **kwargs)` raises `exc_type` with the text that `assertExpected` expects.
        The keyword `subname` is `assertExpected`'s and not given to `callable`."""
        subname = kwargs.pop("subname", None)
        try:
            callable(*args, **kwargs)
        except exc_type as error:
            self.assertExpected(str(error), subname)
            return
        self.fail(f"{exc_type.__name__} was not raised")
