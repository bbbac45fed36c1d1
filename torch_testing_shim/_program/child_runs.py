"""Tests in child processes: `--subprocess` and `--run-parallel`.

    this process  --names-->  [ python test_file.py Class.test ... ]
                  <--journal--'

A child is the same test file with names on its command line. It writes a journal of its own, from which its entries
are taken; a test that has none there, because its process died, gets an entry that says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_testing_shim._program.log import TestLog
from torch_testing_shim._program.options import ProgramOptions, child_environment
from torch_testing_shim._shared.exit_status import describe_exit
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.parent_death import die_with_this_process
from torch_testing_shim._shared.python_command import interpreter_arguments
from torch_testing_shim._shared.settings import read_settings

#: Seconds that children may take to end after Ctrl-C: they stop their ranks and report.
INTERRUPT_GRACE = 10.0


class _Child:
    """One process that runs some tests."""

    def __init__(self, names: Sequence[str], command: Sequence[str], journal: Path) -> None:
        self.names = names
        self._journal = journal
        self._is_interrupted = False
        self._process = subprocess.Popen(
            [*command, *names], env=child_environment(journal), preexec_fn=die_with_this_process()
        )

    def wait(self, seconds: float | None = None) -> None:
        self._process.wait(seconds)

    def interrupt(self) -> None:
        """Pass Ctrl-C on, once: another one later would end the process before it has reported."""
        if not self._is_interrupted and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._is_interrupted = True

    def end(self) -> None:
        """End the process, gently at first; nothing happens where it has ended."""
        self.interrupt()
        try:
            self._process.wait(INTERRUPT_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def contents(self) -> JournalContents:
        """The journal that the process wrote."""
        return read_journal(self._journal)

    def missing(self, contents: JournalContents) -> Iterator[JournalEntry]:
        """Entries of the tests that it did not write about."""
        reported = {entry.test for entry in (*contents.entries, *contents.interrupted)}
        if contents.is_finished:
            return
        for name in self.names:
            if name not in reported:
                fate = "" if name in contents.unfinished else "did not run: "
                reason = f"{fate}its process ended with {describe_exit(self._process.returncode)}"
                yield JournalEntry(name, TestStatus.ERROR, 0.0, reason, f"{reason}\n")


def run_in_children(
    batches: Sequence[Sequence[str]], at_once: int, script: str, options: ProgramOptions, log: TestLog
) -> None:
    """Run each batch of tests in a process of its own.

    Args:
        batches: names of tests.
        at_once: how many processes run at the same time.
        script: path of the test file.

    Raises:
        KeyboardInterrupt: the user stopped the run; the children have ended and their entries are logged.
    """
    settings = read_settings()
    command = [sys.executable, *interpreter_arguments(os.path.abspath(script), settings), script, *_passed_on(options)]
    folder = make_folder(settings.temporary_folder)
    try:
        for first in range(0, len(batches), at_once):
            with contextlib.ExitStack() as stack:
                children = []
                for number, names in enumerate(batches[first : first + at_once], start=first):
                    child = _Child(names, command, folder / f"{number}.journal")
                    stack.callback(_take, child, log)
                    stack.callback(child.end)
                    children.append(child)
                stack.callback(_interrupt_all, children)  # before the first is waited for
                for child in children:
                    child.wait()
            if options.failfast and log.has_failures:
                return
    finally:
        remove_folder(folder)


def _interrupt_all(children: Sequence[_Child]) -> None:
    for child in children:
        child.interrupt()


def _take(child: _Child, log: TestLog) -> None:
    contents = child.contents()
    for entry in (*contents.entries, *child.missing(contents)):
        log.start(entry.test)
        log.end(entry)
    for entry in contents.interrupted:
        log.start(entry.test)
        log.interrupt(entry.test, entry.reason, entry.detail)


def _passed_on(options: ProgramOptions) -> list[str]:
    flags = {"-f": options.failfast, "-b": options.buffer, "--showlocals": options.settings.showlocals}
    verbosity = {0: ["-q"], 2: ["-v"]}.get(options.verbosity, [])
    return [*verbosity, *(flag for flag, is_set in flags.items() if is_set)]
