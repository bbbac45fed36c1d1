"""A run for GitHub Actions: a folded group for each process, and annotations.

A command is a line `::name key=value,...::text` in the log. Whatever a test prints could be one, so the output of tests
is printed only between `::stop-commands::TOKEN` and `::TOKEN::`, with a token that nobody can guess.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import BinaryIO

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.settings import GitHubActions

from ..plan.tree import Tree
from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary
from .output import OutputMultiplexer, OutputStream
from .progress import Progress, RunningProcess
from .wording import NoteLines, counts_of, failure_line, failures_to_list, left_out_lines, shortened, stopped_lines


class GitHubReport:
    """Prints a run for GitHub Actions. Groups of processes that run at once do not mix.

    Args:
        stream: standard output.
        actions: GitHub's variables about the step.
        tree: the tree whose files run; paths outside the checkout start at its root.
        is_verbose: groups hold the output of the files; otherwise a line for each test and the reports of failures.
    """

    def __init__(self, stream: BinaryIO, actions: GitHubActions, tree: Tree, *, is_verbose: bool = False) -> None:
        self._actions, self._is_verbose = actions, is_verbose
        self._tree = tree
        self._multiplexer = OutputMultiplexer(stream)
        self._token = secrets.token_hex(16)
        self._progress = Progress({})
        self._notes = NoteLines()
        self._streams: dict[RunningProcess, OutputStream] = {}

    def __enter__(self) -> GitHubReport:
        return self

    def __exit__(self, *error: object) -> None:
        for stream in self._streams.values():  # show the output until the run broke off
            stream.finish()

    def run_started(self, files: Sequence[str]) -> None:
        """These files will run."""
        self._progress.plan(files)

    def process_started(self, file: str, part: str = "") -> RunningProcess:
        """Open a group."""
        number, total = self._progress.place(file)
        stream = self._multiplexer.open()
        process = RunningProcess(file, part, self._tests_ended, stream.write if self._is_verbose else None)
        self._streams[process] = stream
        stream.line(command("group", f"{process.name} ({number} of {total})"))
        stream.line(command("stop-commands", self._token))
        return process

    def process_ended(self, process: RunningProcess) -> None:
        """Close the group."""
        stream = self._streams.pop(process)
        stream.line(f"::{self._token}::")
        stream.line(command("endgroup"))
        stream.finish()

    def file_ended(self, result: FileResult) -> None:
        """Print the file's line, and an annotation for each failure."""
        lines = [f"{result.file}  {counts_of(result)}  {result.ending.seconds:.1f}s"]
        lines += stopped_lines(result, with_detail=not self._is_verbose)
        if result.ending.processes_left:
            lines.append(f"{result.file} left processes running, which were ended: {result.ending.processes_left}")
        self._say(lines)
        path = self._path_in_repository(result.file)
        for failure in result.failures:
            if failure.label != DID_NOT_RUN:  # the crash that prevented it has an annotation
                self._multiplexer.line(failure_annotation(failure, path))
        if not result.flaky_fails:
            for failure in result.flaky:
                self._multiplexer.line(failure_annotation(failure, path, level="warning"))

    def lines(self, lines: Sequence[str]) -> None:
        """Print lines that the user asked for."""
        self._say(lines)

    def finished(self, summary: RunSummary) -> None:
        """Print the failures, the files that did not run, and the last line."""
        lines = [""]
        for failure in failures_to_list(summary):
            lines += [failure_line(failure), *([failure.detail.rstrip("\n")] if failure.detail else [])]
        lines += [f"FLAKY  {failure.where}  at first: {shortened(failure.reason)}" for failure in summary.flaky]
        lines += [f"UNMATCHED  {sentence}" for sentence in summary.unmatched]
        lines += left_out_lines(summary)
        if summary.not_run:
            lines.append(f"not run: {', '.join(summary.not_run)} ({summary.why_not_run})")
        if len(lines) > 1:
            self._say(lines)
        self._multiplexer.line(str(summary))

    def _tests_ended(self, process: RunningProcess, new: Sequence[JournalEntry]) -> None:
        for entry in [] if self._is_verbose else new:
            reason = f"  {shortened(entry.reason)}" if entry.reason else ""
            self._streams[process].line(f"{entry.status.value}  {entry.test}  {entry.seconds:.2f}s{reason}")
            if entry.detail:
                self._streams[process].line(entry.detail.rstrip("\n"))
            for line in self._notes.of(entry, process.file):
                self._streams[process].line(line)

    def _path_in_repository(self, file: str) -> str:
        """The test file's path as an annotation has it: below the folder of the checkout."""
        path = self._tree.path(file)
        for folder in (self._actions.workspace, self._tree.root):
            if folder is not None and path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.as_posix()

    def _say(self, lines: Sequence[str]) -> None:
        """Print lines that may hold texts of tests."""
        stream = self._multiplexer.open()
        stream.line(without_commands("\n".join(lines), self._token).rstrip("\n"))
        stream.finish()


#: The characters that are escaped in the text of a command, and in its values.
TEXT_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
VALUE_ESCAPES = {**TEXT_ESCAPES, ":": "%3A", ",": "%2C"}
#: The part of an annotation that GitHub shows.
ANNOTATION_CHARACTERS = 4000

TRACEBACK_HEAD = re.compile(r"Traceback \(most recent call last\)|\(most recent call first\)")
PYTHON_FRAME = re.compile(r'File "(?P<path>[^"\n]+)", line (?P<line>\d+)')
PYTEST_FRAME = re.compile(r"^(?P<path>[^\s:]+\.py):(?P<line>\d+): ", re.MULTILINE)


def command(name: str, text: str = "", **values: str | int | None) -> str:
    """One line, without its end. Values that are None or "" are left out."""
    said = [f"{key}={_escaped(str(value), VALUE_ESCAPES)}" for key, value in values.items() if value not in (None, "")]
    return f"::{name}{' ' if said else ''}{','.join(said)}::{_escaped(text, TEXT_ESCAPES)}"


def without_commands(lines: str, token: str) -> str:
    """Lines in which nothing is a command, whatever they hold; they end in a line break."""
    return f"{command('stop-commands', token)}\n{lines}\n::{token}::\n"


def failure_annotation(failure: Failure, path: str, *, level: str = "error") -> str:
    """The command that shows a failure beside the code.

    Args:
        path: where its test file lies, below the repository's root.
        level: "error", "warning" or "notice".
    """
    line = failed_line(failure.detail, failure.file)
    text = f"{failure.label}: {failure.reason}"[:ANNOTATION_CHARACTERS]
    return command(level, text, file=path, line=line, title=failure.where)


def failed_line(detail: str, file: str) -> int | None:
    """The line of the test file at which a test failed: the innermost one of the first traceback that has one.

    Args:
        detail: the report of the failure.
        file: the test file's name, as `Tree.names` has it.
    """
    heads = [*TRACEBACK_HEAD.finditer(detail)]
    starts = [head.start() for head in heads] or [0]
    for number, start in enumerate(starts):
        block = detail[start : starts[number + 1] if number + 1 < len(starts) else None]
        lines = [int(found["line"]) for found in PYTHON_FRAME.finditer(block) if _is_file(found["path"], file)]
        if lines:
            is_innermost_first = bool(heads) and "first" in heads[number].group()
            return lines[0] if is_innermost_first else lines[-1]
    lines = [int(found["line"]) for found in PYTEST_FRAME.finditer(detail) if _is_file(found["path"], file)]
    return lines[-1] if lines else None


def _is_file(path: str, file: str) -> bool:
    """True where a path of a traceback, absolute or relative to some folder, may be a test file's."""
    own = f"/{file}.py"
    shown = f"/{path.replace(chr(92), '/').removeprefix('./').removeprefix('/')}"
    return shown.endswith(own) or own.endswith(shown)


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
