"""Runs many faults, in as few processes as the faults allow and several at once where they mostly wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "shim"))

from usual_signals import take_usual_signals

from faults.fault import Ending, Fault
from faults.faulty import FAULT_TIMES
from faults.machine import ON_SMALL_DISK, remove_memory_cgroup
from faults.observe import Observation, read_observations
from faults.surroundings import MARK, kill_marked

_CONFORMANCE = Path(__file__).resolve().parents[1]
_ROOT = _CONFORMANCE.parents[1]
#: Deadline of a test that hangs, in seconds: long enough for three ranks to come to the fault on a loaded machine, and
#: for spawned ones, each of which imports torch first.
_HANG_SECONDS, _SPAWNED_HANG_SECONDS = 3, 30
#: Deadline of the others, which are not to come near it.
_DEADLINE_SECONDS = 60
#: How long ranks stand still before a deadlock is told.
_STALL_SECONDS = 1
#: How many processes share the faults that do not hang; a machine that has no core for each gives longer times.
_PROCESSES = 2
#: How many processes share the faults that hang: they use no processor time while they do.
_HANG_PROCESSES = 3
#: How many processes have spawned ranks at once: the imports of more would take longer than the deadlines are.
_SPAWNING_AT_ONCE = 2
#: Chooses how ranks start, here as elsewhere.
_START_METHOD = "TORCH_TESTING_SHIM_START_METHOD"
#: A process whose tests do not go on for so long is given up, in seconds.
_PATIENCE_SECONDS = 150
_TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class Order:
    """The work of one process."""

    faults: tuple[Fault, ...]  # run in this order
    package: str  # the modules that hold them
    variables: dict[str, str]  # of its environment
    path: tuple[str, ...] = ()  # folders to import from, before those of the project
    small_disk: bool = False  # its temporary folder is a disk of a few MiB
    untouched: bool = True  # a test after each fault finds everything in order
    reuse_ranks: bool = False  # in ranks that have run a test before
    patience: float = _PATIENCE_SECONDS  # seconds after which it is given up where no test has come to its end


def deadline_of(fault: Fault) -> float:
    """Seconds that the fault's test may take."""
    return _hang_seconds() if fault.expected.is_hang else _DEADLINE_SECONDS


def run_faults(faults: Sequence[Fault], *, reuse_ranks: bool = False) -> dict[str, Observation]:
    """Runs the faults on this harness and returns what became of them, by test."""
    orders = [replace(order, reuse_ranks=reuse_ranks) for order in _orders(faults)]
    return run_orders(orders, _SPAWNING_AT_ONCE if _is_spawning() else None)


def _orders(faults: Sequence[Fault]) -> list[Order]:
    """The longest first. Deadlocks are told before the deadline, so that they need one that is far."""
    hangs = [fault for fault in faults if fault.expected.is_hang]
    on_small_disk = [fault for fault in faults if fault.expected.small_disk]
    others = [fault for fault in faults if fault not in hangs and fault not in on_small_disk]
    far, near = _deadlines(_DEADLINE_SECONDS, _STALL_SECONDS), _deadlines(_hang_seconds(), 0)
    return [
        *(Order(share, "faults.cases", far) for share in _shares(others, _PROCESSES)),
        *(Order(share, "faults.cases", near) for share in _shares(hangs, _HANG_PROCESSES)),
        *(Order(share, "faults.cases", far, small_disk=True) for share in _shares(on_small_disk, 1)),
    ]


def _is_spawning() -> bool:
    return os.environ.get(_START_METHOD) == "spawn"


def _hang_seconds() -> int:
    return _SPAWNED_HANG_SECONDS if _is_spawning() else _HANG_SECONDS


def _shares(faults: Sequence[Fault], number: int) -> list[tuple[Fault, ...]]:
    """The faults dealt out, less shares in which there would be none."""
    return [share for first in range(number) if (share := tuple(faults[first::number]))]


def _deadlines(seconds: float, stall_seconds: float) -> dict[str, str]:
    return {
        "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(seconds),
        "TORCH_TESTING_SHIM_STALL_SECONDS": str(stall_seconds),
    }


def run_orders(orders: Sequence[Order], at_once: int | None = None) -> dict[str, Observation]:
    """Runs the orders, `at_once` of them at a time (all, by default)."""
    with ThreadPoolExecutor(at_once or len(orders) or 1) as pool:
        return {found.test: found for observations in pool.map(_run_order, orders) for found in observations}


def _run_order(order: Order) -> list[Observation]:
    """Runs the faults of an order; those after one that ends its process run in another process.

    Raises:
        RuntimeError: a process did not come to its first fault.
    """
    observations: list[Observation] = []
    while len(observations) < len(order.faults):
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            found, output = _run_process(order, order.faults[len(observations) :], Path(folder))
        observations += found
        if len(observations) < len(order.faults):
            lost = order.faults[len(observations)].test
            observations.append(Observation(lost, Ending.NONE, report=output.strip().rpartition("\n")[2] or "no word"))
    return observations


def _run_process(order: Order, faults: Sequence[Fault], folder: Path) -> tuple[list[Observation], str]:
    """The faults' results before the process ended, and the tail of its output."""
    for name in ("tmp", "times", "work"):
        (folder / name).mkdir()
    mark = uuid.uuid4().hex
    results = folder / "results"
    command = [sys.executable, "-m", "faults.observe", order.package, str(results)]
    command += ["--untouched"] if order.untouched else []
    command += ["--reuse-ranks"] if order.reuse_ranks else []
    command += [f"{fault.theme}.{fault.test}" for fault in faults]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*ON_SMALL_DISK, *command] if order.small_disk else command,
            cwd=folder / "work",
            env=_environment(order, folder, mark),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=take_usual_signals,
        )
        try:
            _wait(process, results, order.patience)
        finally:
            _end(process, mark)
            remove_memory_cgroup(folder.name)
    if not results.exists():
        raise RuntimeError((folder / "output").read_text(errors="replace"))
    return read_observations(results), (folder / "output").read_text(errors="replace")[-_TAIL_CHARACTERS:]


def _environment(order: Order, folder: Path, mark: str) -> dict[str, str]:
    """This process's, less what configures a harness."""
    ours = ("TORCH_TESTING_SHIM_", "DISTRIBUTED_TESTS_", "PYTORCH_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    start_method = {name: value for name, value in os.environ.items() if name == _START_METHOD}
    return {
        **kept,
        **start_method,
        **order.variables,
        **({"TORCH_TESTING_SHIM_REUSE_RANKS": "1"} if order.reuse_ranks else {}),
        "PYTHONPATH": os.pathsep.join([*order.path, str(_CONFORMANCE), str(_ROOT)]),
        "TMPDIR": str(folder / "tmp"),
        "TORCH_TESTING_SHIM_STRICT_LEAKS": "1",
        FAULT_TIMES: str(folder / "times"),
        MARK: mark,
    }


def _wait(process: subprocess.Popen[bytes], results: Path, patience: float) -> None:
    """Waits for the process's end, as long as its results grow."""
    size, give_up = 0, time.monotonic() + patience
    while time.monotonic() < give_up:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return
        if results.exists() and results.stat().st_size > size:
            size, give_up = results.stat().st_size, time.monotonic() + patience


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ends the process and all that comes from it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kill_marked(mark)
