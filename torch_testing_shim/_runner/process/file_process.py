"""One test file in a child process of its own: started, watched, and ended with everything that it has started.

The child leads a session, reads nothing, prints to a file and dies with the runner. Its temporary files go into a
folder that is removed when it has ended, since a killed test file cannot clean up. A `FileProcess` never waits: one
loop steps many of them again and again.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._shared.journal import JournalContents, JournalEntry
from torch_testing_shim._shared.journal_reading import JournalReader

from ..report.progress import RunningProcess
from ..result import FileEnding
from ..usage_error import UsageError
from .child_process import ChildProcess
from .command import MARK_VARIABLE, FileCommand
from .output_file import OutputFile
from .process_tree import ProcessTree, Waiting, ask_for_stacks, end_early
from .start import Starter

#: The time between two looks at a file's output and journal, in seconds: short beside a test, long beside a look.
LOOK_INTERVAL = 0.05
#: The time that a file's helpers have to see its end and end by themselves, in seconds.
LEFTOVER_GRACE = 1.0

#: A disk with less free room than this counts as full, in bytes.
FULL_BYTES = 1 << 16

#: A test's entry and the device type that it ran on -> the entry as people see it.
Shown = Callable[[JournalEntry, str], JournalEntry]


class FileProcess:
    """A process with its output and journal.

    Args:
        folder: a folder of its own, which does not exist yet; it is removed at the end.
        shown: makes of each test's entry, once, the entry that the watcher sees.
        seconds: how long it may take; None for as long as it likes.
        is_warm: it is worth a warm interpreter.
    """

    def __init__(
        self,
        command: FileCommand,
        folder: Path,
        starter: Starter,
        watcher: RunningProcess,
        shown: Shown = lambda entry, device: entry,
        *,
        seconds: float | None = None,
        is_warm: bool = False,
    ) -> None:
        self.ending: FileEnding | None = None  # how it ended; None before
        self._child: ChildProcess | None = None
        self._command, self._folder, self._seconds, self._is_warm = command, folder, seconds, is_warm
        self._starter, self._watcher, self._shown = starter, watcher, shown
        self._journal_path = folder / "journal.jsonl"
        self._journal = JournalReader(self._journal_path)
        self._looked = 0.0
        self._is_to_stop = False
        self._life = self._live()

    @property
    def pid(self) -> int | None:
        """Its process id; None before it has started."""
        return None if self._child is None else self._child.pid

    @property
    def journal(self) -> JournalContents:
        """The content of its journal, as far as it has been read."""
        return self._journal.contents()

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that become readable when there is a step to do, as far as descriptors can tell."""
        if self._child is None:
            return self._starter.descriptors
        return [] if self._child.descriptor is None else [self._child.descriptor]

    def step(self, *, is_to_stop: bool = False) -> bool:
        """Do one step, without waiting; return True once the process has ended.

        Args:
            is_to_stop: the user wants the run to stop.
        """
        self._is_to_stop = is_to_stop
        try:
            next(self._life)
        except StopIteration:
            return True
        return False

    def close(self) -> None:
        """Kill the processes that still run, where the run breaks off."""
        self._life.close()

    def _live(self) -> Waiting:
        try:
            try:
                (self._folder / "tmp").mkdir(mode=0o700, parents=True)
                output = OutputFile(self._folder / "output.txt")
            except OSError as error:
                raise UsageError(f"cannot start {self._command.name}: {error}") from error
            with closing(output), closing(self._journal):
                yield from self._live_with(output)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _live_with(self, output: OutputFile) -> Waiting:
        mark = uuid.uuid4().hex
        tree = ProcessTree(session=-1, mark=mark)
        try:
            self._child = child = yield from self._start(output, mark)
            started_at, began = time.time(), time.monotonic()  # less the first file's wait for the warm interpreter
            tree = ProcessTree(session=child.pid, mark=mark)
            how = yield from self._watch(child, output, began)
            seconds = time.monotonic() - began
            if how == "timed out":
                yield from ask_for_stacks(child)
            if how:
                yield from end_early(child, tree)
            left = yield from tree.end(LEFTOVER_GRACE)
        except BaseException:
            tree.kill()
            if self._child is not None:
                self._child.has_ended()  # collects it
            raise
        self._look(output, is_last=True)
        exit_code = -signal.SIGKILL if child.exit_code is None else child.exit_code
        self.ending = FileEnding(
            file=self._command.name,
            exit_code=exit_code,
            seconds=seconds,
            output_tail="\n".join([output.tail(), *_full_disk(self._folder)]).strip("\n"),
            is_stopped=how == "stopped",
            processes_left=0 if how else left,
            started_at=started_at,
            seconds_allowed=self._seconds if how == "timed out" else None,
        )

    def _watch(self, child: ChildProcess, output: OutputFile, began: float) -> Generator[None, None, str]:
        """Yield until the process has ended; return why it has to be ended, "" where it has ended by itself."""
        allowed = self._seconds
        while not child.has_ended():
            if self._is_to_stop:
                return "stopped"
            if allowed is not None and time.monotonic() - began > allowed:
                return "timed out"
            if time.monotonic() - self._looked >= LOOK_INTERVAL:
                self._look(output)
            yield
        return ""

    def _look(self, output: OutputFile, *, is_last: bool = False) -> None:
        """Pass new output and journal entries on to the watcher."""
        self._looked = time.monotonic()
        for chunk in output.read_new():
            self._watcher.on_output(chunk)
        news = self._journal.read_to_end() if is_last else self._journal.read_new()
        if news is not None:
            shown = tuple(self._shown(entry, news.device) for entry in news.entries)
            self._watcher.on_journal(replace(news, entries=shown))
        self._watcher.on_look()

    def _start(self, output: OutputFile, mark: str) -> Generator[None, None, ChildProcess]:
        own = {
            "TORCH_TESTING_SHIM_JOURNAL": str(self._journal_path),
            MARK_VARIABLE: mark,
            "TMPDIR": str(self._folder / "tmp"),
        }
        command = self._command.setting(own)
        return self._starter.start(command, output.descriptor, self._folder, is_warm=self._is_warm)


def _full_disk(folder: Path) -> list[str]:
    """A line where the disk of `folder` is full: a process that fills it cannot print its own error."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return []
    is_full = disk.f_bavail * disk.f_frsize < FULL_BYTES
    return [f"the disk is full that its temporary files lie on (TMPDIR chooses where): {folder}"] if is_full else []
