"""What a report knows of one running process: the `Watcher` that `run_file` tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.journal_reading import JournalNews

__all__ = ["RunningProcess"]


class RunningProcess:
    """One process of a file.

    Args:
        file: the file's name.
        part: what of it the process runs; empty for all of it.
        take_output: gets what the process prints.
        take_tests: gets the tests that have ended since it was last called.
        take_look: called now and then.

    Attributes:
        started: when it started, in seconds of the monotonic clock.
        news: what its journal has told last.
    """

    def __init__(
        self,
        file: str,
        part: str,
        take_output: Callable[[bytes], object],
        take_tests: Callable[[RunningProcess, Sequence[JournalEntry]], object],
        take_look: Callable[[], object],
    ) -> None:
        self.file, self.part = file, part
        self.started = time.monotonic()
        self.news = JournalNews()
        self._take_output, self._take_tests, self._take_look = take_output, take_tests, take_look

    @property
    def name(self) -> str:
        """The file's name, with the part where there is one."""
        return f"{self.file} ({self.part})" if self.part else self.file

    def on_output(self, chunk: bytes) -> None:
        self._take_output(chunk)

    def on_journal(self, news: JournalNews) -> None:
        self.news = news
        self._take_tests(self, news.entries)

    def on_look(self) -> None:
        self._take_look()
