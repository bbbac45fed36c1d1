"""`assertExpectedInline`: compare with a text in the test's source, which a run with `--accept` rewrites."""

from __future__ import annotations

import re
from typing import Any

import expecttest

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# ECMA-48: ESC and one character, or ESC [ and a control sequence
_ANSI_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class ExpectedOutput(expecttest.TestCase):
    """`assertExpectedInline` with the name, signature and meaning of upstream's (torch 2.13)."""

    def assertExpectedInline(
        self,
        actual: Any,
        expect: str,
        skip: int = 0,
        ignore_comments: bool = False,
        ignore_empty_lines: bool = False,
    ) -> None:
        """Fail unless `str(actual)`, without terminal colours, is `expect`, a string literal of the source.

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
