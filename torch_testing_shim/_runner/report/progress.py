"""The progress of a run: its running processes, the part that is done, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.journal_reading import JournalNews


def seconds_left(
    waiting: Sequence[str], running: Mapping[str, float], expected: Mapping[str, float], jobs: int
) -> float | None:
    """Return the time left of a run, in seconds; None where no duration is recorded of any file.

    Args:
        waiting: the files that have not started.
        running: the files that run -> for how many seconds they have.
        expected: files -> recorded durations, in seconds; a file without one counts as the mean of the others.
        jobs: the number of files that run at once.
    """
    if not expected:
        return None
    mean = sum(expected.values()) / len(expected)
    parts = [expected.get(file, mean) for file in waiting]
    parts += [max(0.0, expected.get(file, mean) - seconds) for file, seconds in running.items()]
    return max(sum(parts) / max(1, jobs), *parts) if parts else 0.0


def short_duration(seconds: float) -> str:
    """A duration that people read at a glance: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Counts files and tests for a report.

    Args:
        expected: files -> recorded durations, in seconds.
        jobs: the number of files that run at once.
    """

    def __init__(self, expected: Mapping[str, float], jobs: int = 1) -> None:
        self.processes: list[RunningProcess] = []  # the running processes, oldest first
        self._expected, self._jobs = dict(expected), jobs
        self._files: tuple[str, ...] = ()
        self._seen: dict[str, float] = {}
        self._ended: set[str] = set()
        self._tests = self._failed = 0

    def plan(self, files: Sequence[str]) -> None:
        """These files will run."""
        self._files = tuple(files)

    def place(self, file: str) -> tuple[int, int]:
        """The 1-based place of `file` among the files that have started, and the number of all files."""
        self._seen.setdefault(file, time.monotonic())
        return list(self._seen).index(file) + 1, max(len(self._files), len(self._seen))

    def add_tests(self, ended: int, failed: int) -> None:
        """That many more tests have ended, and failed."""
        self._tests += ended
        self._failed += failed

    def end_file(self, file: str) -> None:
        """The file is done."""
        self._ended.add(file)

    def summary_line(self) -> str:
        """One line about the run: "3/40 files  120 tests, 2 failed  about 4 min left"."""
        parts = [f"{len(self._ended)}/{max(len(self._files), len(self._seen))} files"]
        parts.append(f"{self._tests} tests" + (f", {self._failed} failed" if self._failed else ""))
        waiting = [file for file in self._files if file not in self._seen]
        now = time.monotonic()
        running = {file: now - since for file, since in self._seen.items() if file not in self._ended}
        left = seconds_left(waiting, running, self._expected, self._jobs)
        return "  ".join([*parts, f"about {short_duration(left)} left"] if left else parts)

    def process_lines(self) -> list[str]:
        """One line for each process that runs: its file, its tests, the test that runs now, its time."""
        return [_line(process) for process in self.processes]


def _line(process: RunningProcess) -> str:
    news = process.news
    now = news.now or ("ending" if news.planned else "starting")
    return f"{process.name}  {news.ended}/{news.planned}  {now}  {time.monotonic() - process.started:.0f}s"


class RunningProcess:
    """One running process of a file: it is told what the process does, and tells a report.

    Args:
        part: the part of the file that the process runs; empty for all of it.
        take_tests: gets the tests that have ended since it was last called.
        take_output: gets the output of the process.
        take_look: called now and then.
    """

    def __init__(
        self,
        file: str,
        part: str,
        take_tests: Callable[[RunningProcess, Sequence[JournalEntry]], object],
        take_output: Callable[[bytes], object] | None = None,
        take_look: Callable[[], object] | None = None,
    ) -> None:
        self.file, self.part = file, part
        self.started = time.monotonic()  # when it started, in seconds of the monotonic clock
        self.news = JournalNews()  # the latest news of its journal
        self._take_output, self._take_tests, self._take_look = take_output, take_tests, take_look

    @property
    def name(self) -> str:
        """The file's name, with the part where there is one."""
        return f"{self.file} ({self.part})" if self.part else self.file

    def on_output(self, chunk: bytes) -> None:
        """The process has printed `chunk`."""
        if self._take_output is not None:
            self._take_output(chunk)

    def on_journal(self, news: JournalNews) -> None:
        """Its journal has grown."""
        self.news = news
        self._take_tests(self, news.entries)

    def on_look(self) -> None:
        """Time has passed."""
        if self._take_look is not None:
            self._take_look()
