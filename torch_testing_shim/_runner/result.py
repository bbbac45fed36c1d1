"""The results of a run: the end of a file's process, failures, the result of a file and of the run. Pure.

`fold` makes a `FileResult`; the exit status is computed in `RunSummary.exit_status` and nowhere else.
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, replace

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import JournalEntry

#: The label of a planned test that never started; reports shorten long rows of them.
DID_NOT_RUN = "did not run"
#: The label of a test that passed only when it was run again, where that is a failure.
FLAKY = "flaky"


@dataclass(frozen=True)
class FileEnding:
    """The end of a file's process."""

    file: str  # the file's name
    exit_code: int  # the exit status, or minus the number of the signal that ended the process
    seconds: float = 0.0  # wall time
    output_tail: str = ""  # the end of its output, standard output and error together
    is_stopped: bool = False  # the runner ended it because the user asked to stop
    processes_left: int = 0  # the number of processes that it left running
    started_at: float = 0.0  # its start, in seconds since the epoch; 0 where that is not known
    #: The limit that it ran into (`--timeout`), in seconds; None where it ran into none.
    seconds_allowed: float | None = None


@dataclass(frozen=True)
class Failure:
    """One failure."""

    file: str  # the file's name
    test: str  # "Class.method", or "" for the file itself
    label: str  # its kind, in one or two words
    reason: str  # one line
    detail: str = ""  # the report, or the tail of the output; may be empty

    @property
    def where(self) -> str:
        """`file::Class.test`, as the command line takes it, or the file's name."""
        return f"{self.file}::{self.test}" if self.test else self.file


@dataclass(frozen=True)
class FileResult:
    """The result of one file.

    A test that failed runs again where retries were asked for. It is flaky where later runs of it passed as often as it
    had failed; a later run that skips, crashes or finds nothing does not count as a pass.
    """

    ending: FileEnding  # the end of its process; of several processes, their ends combined
    entries: tuple[JournalEntry, ...] = ()  # the tests that ended; of a test that was run again, its first run
    faults: tuple[Failure, ...] = ()  # the failures that no test reported itself: the fold's findings
    #: The tests that ran when the user asked to stop, with their stacks as far as they are known.
    interrupted: tuple[JournalEntry, ...] = ()
    is_refusal: bool = False  # the file refused its arguments or the device (exit status 2 before any test)
    reruns: tuple[JournalEntry, ...] = ()  # the later runs of tests that had failed, in their order
    flaky_fails: bool = False  # a flaky test is a failure (`--fail-on-flaky`)
    device: str = ""  # the device type that it ran on; "" where its process has not reported it
    left_out: int = 0  # the number of its tests that `--hw-classification` has left out

    @property
    def file(self) -> str:
        return self.ending.file

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failures that tests reported, then the fold's findings; flaky tests only where they count as failed."""
        passed_later = self._passed_later()
        flaky = tuple(map(_as_flaky, self.flaky)) if self.flaky_fails else ()
        return (*(failure for failure in self._first_failures() if failure.test not in passed_later), *flaky)

    @property
    def flaky(self) -> tuple[Failure, ...]:
        """The failures of tests that passed when they were run again."""
        passed_later = self._passed_later()
        return tuple(failure for failure in self._first_failures() if failure.test in passed_later)

    @property
    def passed(self) -> int:
        """Flaky tests included, unless they count as failed."""
        flaky = 0 if self.flaky_fails else len(self.flaky)
        return sum(entry.status.is_pass for entry in self.entries) + flaky

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def skipped(self) -> int:
        return sum(entry.status.is_skip for entry in self.entries)

    def with_fault(self, label: str, reason: str) -> FileResult:
        """This result with one more fault of the file."""
        return replace(self, faults=(*self.faults, Failure(self.file, "", label, reason)))

    def _first_failures(self) -> tuple[Failure, ...]:
        reported = (
            Failure(self.file, entry.test, entry.status.value, entry.reason, entry.detail)
            for entry in self.entries
            if entry.status.is_failure
        )
        return (*reported, *self.faults)

    def _passed_later(self) -> frozenset[str]:
        """The tests that passed again as often as they had failed: a file that is repeated runs a test several times,
        and each failure is run again until it passes once."""
        failed = Counter(failure.test for failure in self._first_failures() if failure.test)
        passed = Counter(entry.test for entry in self.reruns if entry.status.is_pass)
        return frozenset(test for test, count in failed.items() if passed[test] >= count)


def _as_flaky(failure: Failure) -> Failure:
    return replace(failure, label=FLAKY, reason=f"passed when it was run again; at first: {failure.reason}")


@dataclass(frozen=True)
class RunSummary:
    """The result of the run."""

    files: tuple[FileResult, ...] = ()  # the files that ran, in order
    not_run: tuple[str, ...] = ()  # the names of the selected files that did not run, because the run stopped
    stopped_by: signal.Signals | None = None  # the signal that asked to stop, or None
    fails_if_all_skipped: bool = False  # a run in which every test was skipped has failed
    #: One sentence for each report that could not be written; a run without its reports has failed.
    unwritten: tuple[str, ...] = ()
    #: The seconds after which no file was started any more, where some did not run for that; else None.
    deadline: float | None = None
    unmatched: tuple[str, ...] = ()  # one sentence for each expectation that matches no test; a run with one has failed

    @property
    def flaky(self) -> tuple[Failure, ...]:
        """The failures of tests that passed when they were run again, where these do not count as failed."""
        return tuple(failure for file in self.files if not file.flaky_fails for failure in file.flaky)

    @property
    def why_not_run(self) -> str:
        """Why files did not run, in a few words; "" where all did."""
        if not self.not_run:
            return ""
        if self.stopped_by is not None:
            return self.stopped_by.name
        return "a file failed; --keep-going goes on" if self.deadline is None else f"--deadline {self.deadline:g}"

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(failure for file in self.files for failure in file.failures)

    @property
    def is_all_skipped(self) -> bool:
        """True where tests ran, and each of them was skipped."""
        entries = [entry for file in self.files for entry in file.entries]
        return bool(entries) and all(entry.status.is_skip for entry in entries)

    @property
    def exit_status(self) -> ExitStatus:
        """The one place where the exit status of a run is computed."""
        if self.stopped_by is not None:
            return ExitStatus(128 + self.stopped_by)
        failing = [file for file in self.files if file.failed]
        if failing:
            return ExitStatus.USAGE if all(file.is_refusal for file in failing) else ExitStatus.FAILED
        if self.unwritten or self.unmatched or (self.fails_if_all_skipped and self.is_all_skipped):
            return ExitStatus.FAILED
        if self.not_run:  # a run that did not test everything it was asked to has not passed
            return ExitStatus.FAILED
        return ExitStatus.PASSED if any(file.entries for file in self.files) else ExitStatus.NOTHING_RAN

    def __str__(self) -> str:
        """The last line of the output."""
        passed = sum(file.passed for file in self.files)
        failed = sum(file.failed for file in self.files)
        skipped = sum(file.skipped for file in self.files)
        return f"{passed} passed, {failed} failed, {skipped} skipped"
