"""The calls that a report gets while files run.

    run_started(files)                     once, before the first
      process_started(file, part)          a process starts: a whole file, a part of a split one, or a test again
        watcher.on_output, .on_journal     what that process says; `run_file` calls them
        watcher.on_look
      process_ended(watcher)               it has ended
      file_ended(result)                   all processes of this file have, reruns included

Several processes may run at once, also of one file. The calls may come from any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch_testing_shim._shared.journal_reading import JournalNews

from ..result import FileResult


class Watcher(Protocol):
    """Sees the progress of one process of a file."""

    def on_output(self, chunk: bytes) -> None:
        """The file has printed `chunk`."""

    def on_journal(self, news: JournalNews) -> None:
        """The journal has grown."""

    def on_look(self) -> None:
        """Time has passed."""


class RunReport(Protocol):
    """Sees the progress of a run."""

    def run_started(self, files: Sequence[str]) -> None:
        """These files will run, each name once, in this order."""

    def process_started(self, file: str, part: str = "") -> Watcher:
        """A process for `file` starts; the watcher is its own.

        Args:
            file: the file's name.
            part: the part of it that the process runs, as people read it ("Class", "Class.test again"); empty for all.
        """

    def process_ended(self, watcher: Watcher) -> None:
        """The process that `watcher` was made for has ended; it is called exactly once for each."""

    def file_ended(self, result: FileResult) -> None:
        """Every process of the file has ended."""
