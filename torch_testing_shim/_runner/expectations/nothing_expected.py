"""What a run asks of its expectations, and the answers where it has none. It costs a run without them no import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..result import FileResult, RunSummary
from .judgement import Judge

__all__ = ["NothingExpected", "RunJudgement"]


class RunJudgement(Protocol):
    """The expectations of one run."""

    def judge_of(self, file: str) -> Judge:
        """What judges the tests of a file."""

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        """What a process of a file finds in its environment.

        Args:
            folder: where what it is told is written, once for each file.

        Raises:
            UsageError: it cannot be written.
        """

    def judge(self, result: FileResult) -> FileResult:
        """A file's result as the expectations have it."""

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        """Says which entries match no test, and updates the file where that was asked for; the run is then judged by
        what the file says now.

        Args:
            summary: the run, judged.
            finish: what is done with the result of a file that is now judged otherwise.

        Returns:
            The summary, and lines about what was changed.
        """


class NothingExpected:
    """A run without expectations (a `RunJudgement`)."""

    def judge_of(self, file: str) -> Judge:
        return Judge()

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        return {}

    def judge(self, result: FileResult) -> FileResult:
        return result

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        return summary, []
