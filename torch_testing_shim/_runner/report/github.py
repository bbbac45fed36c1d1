"""What GitHub Actions shows of a run: a folded group for each process, annotations, and the summary of the job."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.settings import GitHubActions

from ..plan.tree import Tree
from ..process.file_process import Watcher
from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary
from .floor import Floor, Speaker
from .github_commands import command, failure_annotation, without_commands
from .progress import Progress
from .running import RunningProcess
from .wording import NoteLines, counts_of, failures_to_list, left_out_lines, shortened, stopped_lines

__all__ = ["GitHubReport", "append_step_summary"]


class GitHubReport:
    """Prints a run for GitHub Actions (a `RunReport`). Groups of processes that run at once do not mix.

    Args:
        stream: standard output.
        actions: what GitHub says of the step.
        tree: the tree whose files run; paths outside the checkout are told from its root.
        is_verbose: groups hold what the files print; otherwise a line for each test and the reports of failures.
    """

    def __init__(self, stream: BinaryIO, actions: GitHubActions, tree: Tree, *, is_verbose: bool = False) -> None:
        self._stream, self._actions, self._is_verbose = stream, actions, is_verbose
        self._tree = tree
        self._floor = Floor(self._write)
        self._token = secrets.token_hex(16)
        self._progress = Progress({})
        self._notes = NoteLines()
        self._speakers: dict[RunningProcess, Speaker] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> GitHubReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for speaker in self._speakers.values():  # what was said before the run broke off is to be seen
            speaker.finish()

    def run_started(self, files: Sequence[str]) -> None:
        """These files will run."""
        self._progress.plan(files)

    def process_started(self, file: str, part: str = "") -> Watcher:
        """Opens a group."""
        with self._lock:
            number, total = self._progress.place(file)
            speaker = self._floor.join()
            process = RunningProcess(file, part, speaker.write if self._is_verbose else _drop, self._tests_ended, _look)
            self._speakers[process] = speaker
            speaker.line(command("group", f"{process.name} ({number} of {total})"))
            speaker.line(command("stop-commands", self._token))
            return process

    def process_ended(self, watcher: Watcher) -> None:
        """Closes the group."""
        assert isinstance(watcher, RunningProcess)
        with self._lock:
            speaker = self._speakers.pop(watcher)
            speaker.line(f"::{self._token}::")
            speaker.line(command("endgroup"))
            speaker.finish()

    def file_ended(self, result: FileResult) -> None:
        """Prints the file's line, and an annotation for each failure."""
        lines = [f"{result.file}  {counts_of(result)}  {result.ending.seconds:.1f}s"]
        lines += stopped_lines(result, with_detail=not self._is_verbose)
        if result.ending.processes_left:
            lines.append(f"{result.file} left processes running, which were ended: {result.ending.processes_left}")
        self._say(lines)
        path = self._path_in_repository(result.file)
        for failure in result.failures:
            if failure.label != DID_NOT_RUN:  # the crash that kept it from running has an annotation
                self._floor.line(failure_annotation(failure, path))
        if not result.flaky_fails:
            for failure in result.flaky:
                self._floor.line(failure_annotation(failure, path, level="warning"))

    def lines(self, lines: Sequence[str]) -> None:
        """Prints lines that the user asked for."""
        self._say(lines)

    def finished(self, summary: RunSummary) -> None:
        """Prints the failures, what did not run, and the last line."""
        lines = [""]
        for failure in failures_to_list(summary):
            lines += [_headline(failure), *([failure.detail.rstrip("\n")] if failure.detail else [])]
        lines += [f"FLAKY  {failure.where}  at first: {shortened(failure.reason)}" for failure in summary.flaky]
        lines += [f"UNMATCHED  {sentence}" for sentence in summary.unmatched]
        lines += left_out_lines(summary)
        if summary.not_run:
            lines.append(f"not run: {', '.join(summary.not_run)} ({summary.why_not_run})")
        if len(lines) > 1:
            self._say(lines)
        self._floor.line(str(summary))

    def _tests_ended(self, process: RunningProcess, new: Sequence[JournalEntry]) -> None:
        with self._lock:
            for entry in [] if self._is_verbose else new:
                reason = f"  {shortened(entry.reason)}" if entry.reason else ""
                self._speakers[process].line(f"{entry.status.value}  {entry.test}  {entry.seconds:.2f}s{reason}")
                if entry.detail:
                    self._speakers[process].line(entry.detail.rstrip("\n"))
                for line in self._notes.of(entry, process.file):
                    self._speakers[process].line(line)

    def _path_in_repository(self, file: str) -> str:
        """The test file as an annotation names it: from the folder of the checkout."""
        path = self._tree.path(file)
        for folder in (self._actions.workspace, self._tree.root):
            if folder is not None and path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.as_posix()

    def _say(self, lines: Sequence[str]) -> None:
        """Lines that hold what tests say."""
        speaker = self._floor.join()
        speaker.line(without_commands("\n".join(lines), self._token).rstrip("\n"))
        speaker.finish()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._stream.flush()


def append_step_summary(actions: GitHubActions, text: str) -> list[str]:
    """Adds Markdown to the summary of the job; returns one sentence where it could not be written."""
    if actions.step_summary is None:
        return []
    try:
        with open(actions.step_summary, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        return [f"the summary of the job could not be written to {actions.step_summary!r}: {error.strerror}"]
    return []


def _headline(failure: Failure) -> str:
    return f"{failure.label.upper()}  {failure.where}  {shortened(failure.reason)}"


def _drop(chunk: bytes) -> None:
    """What happens to output that is not shown."""


def _look() -> None:
    """Nothing is drawn again in a log."""
