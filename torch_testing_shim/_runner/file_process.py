"""One test file in a child process of its own: started, watched, and ended with everything that it has started.

The child leads a session, reads nothing, prints to a file and dies with the runner. Its temporary files go into a
folder that is removed when it has ended, for a killed test file cannot tidy up. `run_file` is all that others call.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch_testing_shim._journal import JournalContents, read_journal
from torch_testing_shim._stamped_folders import make_folder, remove_folder

from .child_setup import die_with_this_process
from .command import FileCommand
from .process_tree import MARK_VARIABLE, ProcessTree
from .result import FileEnding
from .stop import StopRequest
from .usage_error import UsageError

__all__ = ["Watcher", "run_file", "scratch_folder"]

#: How often a running file is looked at, in seconds: short beside a test, long beside what a look costs.
LOOK_INTERVAL = 0.05
#: How long a file has to end by itself after Ctrl-C was passed on, in seconds: its controller ends the ranks meanwhile.
INTERRUPT_GRACE = 2.0
#: How long what a file started may outlive it before it is ended, in seconds: helpers that see its end need a moment.
LEFTOVER_GRACE = 1.0
#: How much of the end of the output a report shows.
TAIL_BYTES, TAIL_LINES = 16_384, 60
#: How much output is passed on at once.
CHUNK_BYTES = 65_536


class Watcher(Protocol):
    """What sees a file's progress."""

    def on_output(self, chunk: bytes) -> None:
        """The file has printed `chunk`."""

    def on_journal(self, contents: JournalContents) -> None:
        """The journal has grown; it reads `contents` now."""

    def on_look(self) -> None:
        """Time has passed."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for outputs and journals, removed at the end, or by the next run where this one is killed.

    Raises:
        UsageError: there is no place for temporary files: TMPDIR names none, or the disk is full.
    """
    try:
        folder = make_folder(os.environ.get("TMPDIR"))
    except OSError as error:
        raise UsageError(f"cannot make a temporary folder (TMPDIR chooses where): {error}") from error
    try:
        yield folder
    finally:
        remove_folder(folder)


@contextmanager
def _removed_at_the_end(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_file(
    command: FileCommand, folder: Path, stop: StopRequest, watcher: Watcher
) -> tuple[FileEnding, JournalContents]:
    """Runs a test file to its end, or to the user's wish to stop.

    Args:
        command: what to run.
        folder: a folder of its own, which does not exist yet; it is removed at the end.
        stop: asked many times a second.
        watcher: told what happens.

    Returns:
        How the process ended, and its journal.

    Raises:
        UsageError: the folder cannot be made or the process not be started.
    """
    with _removed_at_the_end(folder):
        return _run_in(folder, command, stop, watcher)


def _run_in(
    folder: Path, command: FileCommand, stop: StopRequest, watcher: Watcher
) -> tuple[FileEnding, JournalContents]:
    running = _RunningFile(command, folder)
    try:
        while not running.wait(LOOK_INTERVAL) and stop.signal is None:
            running.look(watcher)
        is_stopped = running.exit_code is None
        if is_stopped:
            running.interrupt()
        processes_left = running.end()
        running.look(watcher)
    finally:
        running.close()
    ending = FileEnding(
        file=command.name,
        exit_code=-signal.SIGKILL if running.exit_code is None else running.exit_code,
        seconds=running.seconds,
        output_tail=_tail(running.output_path),
        is_stopped=is_stopped,
        processes_left=0 if is_stopped else processes_left,
    )
    return ending, read_journal(running.journal_path)


class _RunningFile:
    """A started process with its output and journal; there is none that is not started."""

    def __init__(self, command: FileCommand, folder: Path) -> None:
        self.output_path = folder / "output.txt"
        self.journal_path = folder / "journal.jsonl"
        self.exit_code: int | None = None
        self.seconds = 0.0
        self._journal_size = 0
        self._started = time.monotonic()
        try:
            temporary = folder / "tmp"
            temporary.mkdir(mode=0o700, parents=True)
            with self.output_path.open("ab") as output:
                self._process = subprocess.Popen(
                    command.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_this_process(),
                    env=_environment(command, self.journal_path, temporary),
                )
        except OSError as error:
            raise UsageError(f"cannot start {command.name}: {error}") from error
        self._tree = ProcessTree(session=self._process.pid, mark=str(self.journal_path))
        self._output_seen = self.output_path.open("rb")

    def wait(self, seconds: float) -> bool:
        """Waits at most `seconds`; True where the process has ended."""
        try:
            self.exit_code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self.seconds = time.monotonic() - self._started
        return True

    def look(self, watcher: Watcher) -> None:
        """Tells `watcher` what is new."""
        while chunk := self._output_seen.read(CHUNK_BYTES):
            watcher.on_output(chunk)
        size = self.journal_path.stat().st_size if self.journal_path.exists() else 0
        if size != self._journal_size:
            self._journal_size = size
            watcher.on_journal(read_journal(self.journal_path))
        watcher.on_look()

    def interrupt(self) -> None:
        """Passes Ctrl-C on to the process's group and waits; whoever does not end on that is ended by `end`."""
        os.killpg(self._process.pid, signal.SIGINT)
        if not self.wait(INTERRUPT_GRACE):
            self._tree.end(grace=0.0)
            self.wait(INTERRUPT_GRACE)

    def end(self) -> int:
        """Ends what the process has left running; returns how many processes that were."""
        return self._tree.end(grace=LEFTOVER_GRACE)

    def close(self) -> None:
        """Kills what still runs, for the case that `run_file` did not come to its end, and closes its output."""
        if self.exit_code is None:
            self._tree.kill()
            self.wait(INTERRUPT_GRACE)
        self._output_seen.close()


def _environment(command: FileCommand, journal_path: Path, temporary: Path) -> dict[str, str]:
    """The runner's own environment with what `command` sets, and with what makes the process one of the runner's."""
    environment = {**os.environ, **command.environment()}
    if command.package_folder is not None and os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join([command.package_folder, os.environ["PYTHONPATH"]])
    return {
        **environment,
        "TORCH_TESTING_SHIM_JOURNAL": str(journal_path),
        MARK_VARIABLE: str(journal_path),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",  # what a killed process printed last must not die in its buffer
    }


def _tail(path: Path) -> str:
    """The last lines of a file, however large it is."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
