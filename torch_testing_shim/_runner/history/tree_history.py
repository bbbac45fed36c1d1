"""What a tree remembers of earlier runs: what failed, and how long it took. Read before a run, updated after it.

It lies in `test/test-reports`, unless `--times` says where the times are. Nothing of it can fail a run.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..plan.selection import FileSelection
from ..result import RunSummary
from .failed_files import FailedRecord
from .failed_tests import failures_known_after
from .recorded_durations import Expected
from .times import Times, times_of
from .times_file import read_times, record_times

__all__ = ["History"]


@dataclass(frozen=True)
class History:
    """What is remembered.

    Attributes:
        failed: what failed the last time that it ran.
        times_path: the times file.
        times: what it says.
    """

    failed: FailedRecord
    times_path: Path
    times: Times = field(default_factory=Times)

    @classmethod
    def read(cls, reports: Path, times_path: Path, *, needs_times: bool) -> tuple[History, list[str]]:
        """Reads the history of a tree from its folder `reports`; returns it and sentences about what could
        not be read, which is then as good as none."""
        times, note = read_times(times_path) if needs_times else (Times(), "")
        return cls(FailedRecord(reports), times_path, times), [note] if note else []

    def expected(self, selected: Sequence[FileSelection]) -> Expected:
        """What earlier runs tell of the files that are to run."""
        known = {file.name: self.times.files[file.name] for file in selected if file.name in self.times.files}
        return Expected(
            seconds=self.times.expected(selected),
            tests={name: {test: time.seconds for test, time in file.tests.items()} for name, file in known.items()},
            ranks={name: file.ranks for name, file in known.items() if file.tests},
        )

    def take(self, summary: RunSummary, whole_files: Collection[str]) -> list[str]:
        """Writes down what a run has shown; returns sentences about what could not be written.

        Args:
            summary: the run.
            whole_files: the names of the files of which nothing was left out.
        """
        problem = self.failed.write(failures_known_after(self.failed.lines, summary, whole_files))
        times = times_of(summary, whole_files, time.time())
        return [*([problem] if problem is not None else []), *record_times(self.times_path, times)]
