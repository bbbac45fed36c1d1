"""Memory of ranks that wait, as PSS: what a rank shares with others is divided among those that share it.

RSS would count torch's code once per rank, though fork shares it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from bench.holdings import memory_of
from bench.measure import StartedCase, started_case
from bench.plan import IDLE, Case, Contender
from bench.sentinel import RELEASE

_LIMIT_SECONDS = 120.0
_BYTES_PER_MIB = 1024.0 * 1024.0


@dataclass(frozen=True)
class IdleMemory:
    """The holdings of one test's processes while its ranks wait."""

    ranks: int  # how many ranks there were
    rank_pss_mib: float = 0.0  # PSS of the mean rank, MiB
    rank_private_mib: float = 0.0  # what only that rank has, of the mean rank, MiB
    total_pss_mib: float = 0.0  # PSS of all processes together, those of the harness included, MiB
    problem: str = ""  # why there are no numbers, in one line; empty where there are


def measure_idle(contender: Contender, ranks: int) -> IdleMemory:
    """Start a test with `ranks` ranks, wait until all of them wait, and read their memory."""
    case = Case(f"memory: {ranks} ranks", "memory", IDLE, tests=1, ranks=ranks)
    with started_case(case, contender) as started:
        pids = _wait_for_ranks(started, ranks)
        if len(pids) < ranks:
            tail = started.output.read_text(errors="replace")[-1000:]
            return IdleMemory(ranks, problem=f"{len(pids)} of {ranks} ranks came up: {tail}")
        memory = _read(started.process.pid, pids)
        (started.sentinels / RELEASE).touch()
        status = started.process.wait(_LIMIT_SECONDS)
    return memory if status == 0 else IdleMemory(ranks, problem=f"exit status {status}")


def _wait_for_ranks(started: StartedCase, ranks: int) -> list[int]:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        pids = [int(path.read_text()) for path in started.sentinels.glob("*.pid")]
        ended = started.process.poll() is not None
        if len(pids) == ranks or ended or time.monotonic() > deadline:
            return pids
        time.sleep(0.05)


def _read(controller: int, ranks: list[int]) -> IdleMemory:
    family = {controller, *(child.pid for child in psutil.Process(controller).children(recursive=True)), *ranks}
    rollups = {pid: memory_of(pid) for pid in family}
    of_ranks = [rollups[pid] for pid in ranks]
    return IdleMemory(
        ranks=len(ranks),
        rank_pss_mib=sum(r["Pss"] for r in of_ranks) / len(ranks) / _BYTES_PER_MIB,
        rank_private_mib=sum(r["Private_Clean"] + r["Private_Dirty"] for r in of_ranks) / len(ranks) / _BYTES_PER_MIB,
        total_pss_mib=sum(r["Pss"] for r in rollups.values()) / _BYTES_PER_MIB,
    )
