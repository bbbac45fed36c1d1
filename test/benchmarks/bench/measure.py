"""One whole process: `python case.py` from its start to its exit, checked before its time counts."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import sentinel
from bench.plan import REUSE_RANKS, Case, Contender
from bench.translate import translate

#: A process that takes longer has failed. Upstream needs about 170 s for 20 tests on two cores.
LIMIT_SECONDS = 900.0
_ROOT = Path(__file__).resolve().parents[3]
_TAIL_CHARACTERS = 2000
#: Set where the benchmark runs inside a test; a contender's tests are not that run's, and writing them would cost time.
_JOURNAL = "TORCH_TESTING_SHIM_JOURNAL"
_JOURNAL_NAME = "journal"


@dataclass(frozen=True)
class Run:
    """One process."""

    seconds: float  # wall time from its start to its exit
    problem: str = ""  # why that time does not count, in one line; empty where all tests passed on all ranks
    tail: str = ""  # the end of its output where there is a problem


@dataclass(frozen=True)
class StartedCase:
    """A case whose process runs."""

    process: subprocess.Popen[bytes]
    sentinels: Path
    output: Path
    started: float

    @property
    def folder(self) -> Path:
        return self.sentinels.parent

    @property
    def temporary(self) -> Path:
        """TMPDIR of the process."""
        return self.folder / "tmp"

    @property
    def journal(self) -> Path:
        """The journal of a case that is `journaled`."""
        return self.folder / _JOURNAL_NAME


def run_case(case: Case, contender: Contender, limit_seconds: float = LIMIT_SECONDS) -> Run:
    """Run `case` on `contender`, to its end or to the limit."""
    with started_case(case, contender) as started:
        if not ends_within(started.process, limit_seconds):
            return Run(limit_seconds, f"did not end within {limit_seconds:g} s", _tail(started.output))
        seconds = time.perf_counter() - started.started
        status = started.process.wait()
        text = started.output.read_text(errors="replace")
        problem = find_problem(case, status, text, sentinel.found(started.sentinels))
        return Run(seconds, problem, _tail(started.output) if problem else "")


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait on the process's descriptor: `Popen.wait(timeout)` polls, up to 50 ms apart, which is half a tiny test."""
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def find_problem(case: Case, status: int, output: str, finished: set[tuple[str, int]]) -> str:
    """Why the process did not run and pass all tests of `case`, in one line; empty where it did.

    Args:
        case: says how many tests and ranks there are to be.
        status: exit status of the process.
        output: all that it printed.
        finished: the (method, rank) pairs that left a sentinel.
    """
    if status != 0:
        return f"exit status {status}"
    counted = re.search(r"^Ran (\d+) tests?\b", output, re.MULTILINE)
    if counted is None or int(counted[1]) != case.tests:
        return f"ran {counted[1] if counted else 'an unknown number of'} tests instead of {case.tests}"
    if not re.search(r"^OK$", output, re.MULTILINE):
        return "did not report a plain OK"
    methods = {method for method, _ in finished}
    expected = {(method, rank) for method in methods for rank in range(case.ranks)}
    if len(methods) != case.tests or finished != expected:
        return f"{len(finished)} bodies came to their end instead of {case.tests} tests x {case.ranks} ranks"
    return ""


@contextmanager
def started_case(case: Case, contender: Contender) -> Iterator[StartedCase]:
    """Start the process; on leaving, end whatever of it still runs and remove its files."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder_name:
        folder = Path(folder_name)
        script = folder / "case.py"
        preload = case.preload if contender.preloads else ()
        script.write_text(translate(case.source.read_text(), contender.homes, preload))
        sentinels = folder / "sentinels"
        sentinels.mkdir()
        temp = folder / "tmp"
        temp.mkdir()
        with (folder / "output").open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                env=_environment(case, contender, sentinels, temp),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield StartedCase(process, sentinels, folder / "output", started)
            finally:
                _end(process)


def _environment(case: Case, contender: Contender, sentinels: Path, temp: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (_ROOT, _ROOT / "test" / "benchmarks", _ROOT / "test" / "conformance")))
    inherited = {name: value for name, value in os.environ.items() if name not in (_JOURNAL, REUSE_RANKS)}
    return {
        **inherited,
        **case.variables,
        **contender.variables,
        **({_JOURNAL: str(temp.parent / _JOURNAL_NAME)} if case.journaled else {}),
        "PYTHONPATH": path,
        "TMPDIR": str(temp),
        sentinel.FOLDER: str(sentinels),
        "BENCH_TESTS": str(case.tests),
        "BENCH_RANKS": str(case.ranks),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(output: Path) -> str:
    return output.read_text(errors="replace")[-_TAIL_CHARACTERS:]
