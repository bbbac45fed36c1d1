"""Diagnostics of running ranks, taken before they are ended: Python stacks, native stacks, what they wait for.

Native stacks are py-spy's, where it is installed (extra `hang`).
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._engine.rank_preparation import STACKS_SIGNAL
from torch_testing_shim._engine.running_ranks import RunningRanks
from torch_testing_shim._engine.self_report import SelfReport, ask, read_reports
from torch_testing_shim._engine.stacks import ENTRY, main_thread, stacks_text
from torch_testing_shim._engine.waits import Wait

#: How long ranks may take to write their stacks, in seconds; faulthandler takes milliseconds, a loaded machine more.
_STACKS_SECONDS = 0.4
#: How long ranks may take for their own reports, in seconds; these take milliseconds, too.
_REPORT_SECONDS = 0.2
#: How long py-spy may take for all ranks together, in seconds; one rank takes half a second, most of it CPU time. With
#: the watchdog's own times, a hang is reported within 2 s.
_NATIVE_SECONDS = 1.2
#: How often a file of stacks is read while it is being written, in seconds.
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Diagnostics:
    """The diagnostics of one rank; a text is empty where it could not be had."""

    stacks: str = ""  # of Python
    native_stacks: str = ""  # or why there are none
    wait: Wait = Wait.UNKNOWN  # of its main thread
    handled: tuple[str, str] = ("", "")  # headline and traceback of the exception that its main thread is handling


def take_diagnostics(ranks: RunningRanks, asked: Collection[int], *, native: bool) -> dict[int, Diagnostics]:
    """Take the diagnostics of the `asked` ranks, by rank; stuck ranks give them too. Native stacks, where they are
    wanted, are of one rank for each place where ranks stand."""
    folder = ranks.jobs[0].folder
    for rank in asked:
        ranks.signal(rank, STACKS_SIGNAL, alone=True)
    stacks = _wait_for_stacks({rank: folder.stacks(rank) for rank in asked})
    ask(folder, asked)  # now, or the stacks would show the thread that answers
    reports = read_reports(folder, asked, _REPORT_SECONDS)
    stacks.update({rank: stacks_text(reports[rank].threads) for rank in reports if not stacks[rank]})
    natives = native_stacks({r: ranks.pids[r] for r in _at_different_places(stacks)}, _NATIVE_SECONDS) if native else {}
    none = SelfReport(threads=())
    return {rank: _diagnostics(stacks[rank], natives.get(rank, ""), reports.get(rank, none)) for rank in asked}


def _diagnostics(stacks: str, native_stacks: str, report: SelfReport) -> Diagnostics:
    return Diagnostics(stacks, native_stacks, report.waits[0] if report.waits else Wait.UNKNOWN, report.handled)


def _wait_for_stacks(paths: dict[int, Path]) -> dict[int, str]:
    """Return the stacks that ranks write, once all are complete, or as far as they are when the time is up."""
    give_up = time.monotonic() + _STACKS_SECONDS
    while True:
        time.sleep(_POLL_SECONDS)
        stacks = {rank: path.read_text(errors="replace") if path.exists() else "" for rank, path in paths.items()}
        if all(map(_is_whole, stacks.values())) or time.monotonic() >= give_up:
            return stacks


def _is_whole(stacks: str) -> bool:
    """Whether faulthandler has written all: it writes line by line and the main thread last, down to the rank's entry,
    and ends a stack that is too deep with dots. A loaded machine may pause it anywhere."""
    return f"in {ENTRY}\n" in stacks or stacks.endswith("...\n")


def _at_different_places(stacks: Mapping[int, str]) -> list[int]:
    """Return the lowest rank for each place where ranks stand."""
    first = {main_thread(stacks[rank]): rank for rank in sorted(stacks, reverse=True)}
    return sorted(first.values())


def native_stacks(pids: Mapping[int, int], seconds: float) -> dict[int, str]:
    """Return the output of `py-spy dump --native` by rank, or one line that says why there is none; empty without
    py-spy. It has `seconds` for all ranks together."""
    program = shutil.which("py-spy")
    if program is None:
        return {}
    give_up = time.monotonic() + seconds
    runs = {rank: _start_py_spy(program, pid) for rank, pid in pids.items()}
    return {rank: run if isinstance(run, str) else _output_of_py_spy(run, give_up) for rank, run in runs.items()}


def _start_py_spy(program: str, pid: int) -> subprocess.Popen[str] | str:
    try:
        return subprocess.Popen(
            [program, "dump", "--native", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return f"py-spy cannot be run: {error.strerror}"


def _output_of_py_spy(run: subprocess.Popen[str], give_up: float) -> str:
    try:
        text, _ = run.communicate(timeout=max(0.0, give_up - time.monotonic()))
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return "py-spy took too long"
    text = text.strip()
    return text if run.returncode == 0 else f"py-spy failed: {text.splitlines()[-1] if text else run.returncode}"
