"""Sample test files for the harness's tests: written beside the assertion, run as users do, judged by the journal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from usual_signals import take_usual_signals
from warm_samples import WarmSample, fork_server, sample_server

from torch_testing_shim._runner.process.command import MARK_VARIABLE
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import TestCase

ROOT = Path(__file__).resolve().parents[2]

#: How long one run of a sample may take, in seconds; they take a few, and a loaded machine some more.
RUN_TIMEOUT = 300.0

#: The variables of an environment in which no device is chosen, leased or shared, whatever has started this process.
NO_DEVICE_CHOSEN = {
    "TORCH_TESTING_SHIM_DEVICE": "",
    "TORCH_TESTING_SHIM_DEVICE_INDICES": "",
    "TORCH_TESTING_SHIM_SHARE_DEVICES": "",
}

SAMPLE_HEAD = """
import os, signal, subprocess, sys, time, unittest
import torch
import torch.distributed as dist
from torch_testing_shim.common_distributed import (
    MultiProcessTestCase, MultiThreadedTestCase, TEST_SKIPS, skip_if_lt_x_gpu
)
from torch_testing_shim.common_utils import TestCase, instantiate_parametrized_tests, parametrize, run_tests, subtest
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

RANKS = int(os.environ.get("RANKS", "2"))  # 1 where ranks are spawned and one shows it: each imports torch

class Spawning(MultiProcessTestCase):
    world_size = RANKS

    def setUp(self):
        super().setUp()
        self._spawn_processes()

class SpawningThreads(MultiThreadedTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()
"""
SAMPLE_TAIL = """
if __name__ == "__main__":
    run_tests()
"""


@dataclass(frozen=True)
class SampleRun:
    """The traces of a sample's run."""

    exit_code: int  # of its process; negative for a signal
    output: str  # stdout and stderr together
    entries: dict[str, JournalEntry] = field(default_factory=dict)  # its journal's entries by test name, "Class.method"
    seconds: float = 0.0  # wall time
    #: By test name, where its tests stood that were interrupted.
    interrupted: dict[str, JournalEntry] = field(default_factory=dict)
    journal: JournalContents = field(default_factory=JournalContents)


class SampleTestCase(TestCase):
    """Runs samples in a private folder and checks that they leave no process and no file."""

    #: Samples run in new interpreters, which costs a second and a half each: what they show has to do with the start.
    is_cold = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.is_cold:  # here, since a process that starts in a test would count as left by it
            sample_server(plain_environment())

    def setUp(self):
        super().setUp()
        self._mark = uuid.uuid4().hex
        folder = tempfile.TemporaryDirectory(prefix="samples-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "tmp").mkdir()

    def write_sample(self, body: str, name: str = "test_sample.py") -> Path:
        path = self.folder / name
        path.write_text(SAMPLE_HEAD + textwrap.dedent(body) + SAMPLE_TAIL)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        """This process's environment less what configures the harness, with a private TMPDIR and journal.

        Samples run on the CPU, also where the machine has an accelerator: what they show is the same everywhere. One
        that is about the accelerator says `TORCH_TESTING_SHIM_DEVICE=""`.
        """
        return plain_environment() | {
            "TMPDIR": str(self.folder / "tmp"),
            "TORCH_TESTING_SHIM_JOURNAL": str(self.folder / "journal"),
            **extra,
        }

    def start(self, command: Sequence[str], **extra: str) -> subprocess.Popen | WarmSample:
        """Start python with the arguments, in a fork (see `warm_samples`) where nothing speaks against it."""
        environment = self.environment(**extra)
        if not self.is_cold and (server := sample_server(plain_environment())).can_start(command, environment):
            return server.start(command, self.folder, environment, self._mark)
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a group of its own, as a terminal gives it
            preexec_fn=take_usual_signals,
        )

    def finish(self, process: subprocess.Popen | WarmSample, began: float) -> SampleRun:
        try:
            output, _ = process.communicate(timeout=RUN_TIMEOUT)
        finally:
            if process.poll() is None:
                process.kill()
        journal = read_journal(self.folder / "journal")
        (self.folder / "journal").unlink(missing_ok=True)
        self.assertEqual(0, journal.broken_lines, output)
        entries = {entry.test: entry for entry in journal.entries}
        interrupted = {entry.test: entry for entry in journal.interrupted}
        return SampleRun(process.returncode, output, entries, time.monotonic() - began, interrupted, journal)

    def run_command(self, *command: str, **extra: str) -> SampleRun:
        """Run python with the arguments and wait for its end."""
        began = time.monotonic()
        return self.finish(self.start(command, **extra), began)

    def run_sample(self, body: str, *arguments: str, **extra: str) -> SampleRun:
        """Run a sample file, check that nothing is left of it, and return what it said."""
        run = self.run_command(str(self.write_sample(body)), *arguments, **extra)
        self.assert_nothing_left()
        return run

    def run_side_by_side(self, body: str, *shares: Sequence[str], **extra: str) -> SampleRun:
        """Run the tests of a sample that mostly wait: each share, names of tests, in a process of its own, all at
        once. Check that nothing is left, and return all that they said; the exit status is the worst."""
        path = str(self.write_sample(body))
        journals = [self.folder / f"journal{number}" for number in range(len(shares))]
        began = time.monotonic()
        processes = [
            self.start([path, *share], TORCH_TESTING_SHIM_JOURNAL=str(journal), **extra)
            for share, journal in zip(shares, journals, strict=True)
        ]
        runs = [self.finish(process, began) for process in processes]
        self.assert_nothing_left()
        entries = {entry.test: entry for journal in journals for entry in read_journal(journal).entries}
        output = "".join(run.output for run in runs)
        return SampleRun(max(run.exit_code for run in runs), output, entries, time.monotonic() - began)

    def assert_status(self, run: SampleRun, test: str, status: TestStatus, reason: str = "") -> JournalEntry:
        """Check how a test of the sample ended, and that the regular expression `reason` is found in its reason."""
        self.assertIn(test, run.entries, run.output)
        entry = run.entries[test]
        self.assertTrue(entry.status is status, f"{test} is {entry.status}, not {status}\n{run.output}")
        self.assertTrue(re.search(reason, entry.reason), f"{reason!r} is not found in {entry.reason!r}")
        return entry

    def assert_nothing_left(self) -> None:
        """No process that was started in the sample's folder, no file in its TMPDIR but torch's own cache."""
        self.assertEqual("", "\n".join(self.processes_of_sample()))
        left = sorted(path.name for path in (self.folder / "tmp").iterdir())
        self.assertEqual([], [name for name in left if not name.startswith("torchinductor_")], left)

    def processes_of_sample(self, patience: float = 5.0) -> list[str]:
        """Commands of the living processes that have the sample's TMPDIR; it waits a little for them to end."""
        give_up = time.monotonic() + patience
        while (found := self._living()) and time.monotonic() < give_up:
            time.sleep(0.05)
        return found

    def _living(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                environment = process.environ()
                mark = environment.get(MARK_VARIABLE)
                if mark == self._mark or str(self.folder) in environment.get("TMPDIR", ""):
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return found


def plain_environment() -> dict[str, str]:
    """This process's environment less what configures the harness; the CPU is chosen."""
    ours = ("TORCH_TESTING_SHIM_", "DISTRIBUTED_TESTS_", "PYTORCH_", "WORLD_SIZE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # plugins that change how pytest runs any test: an order drawn by chance, a thread that hinders forks
    without = "-p no:randomly -p no:rerunfailures"
    return kept | {"PYTHONPATH": str(ROOT), "TORCH_TESTING_SHIM_DEVICE": "cpu", "PYTEST_ADDOPTS": without}


def wait_until(condition, patience: float = 60.0) -> bool:
    """Polls until the condition holds; False if it never did."""
    give_up = time.monotonic() + patience
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


fork_server(plain_environment())
