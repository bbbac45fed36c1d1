"""Ranks as new interpreters, by multiprocessing's own spawn: the way where forking is not safe or not there.

There is no zygote here that adopts orphans. So what a rank started in a session of its own outlives it, and where the
controller is killed, the kernel ends the ranks but not what they started.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.rank_main import run_rank
from torch_testing_shim._engine.rank_signals import signal_rank
from torch_testing_shim._engine.zygote import RankExit

__all__ = ["SpawnedRanks"]


def _enter_rank(job_json: str, channel: Connection, parent_pid: int) -> None:
    """Runs in the new interpreter, once multiprocessing has imported the test's main module there."""
    run_rank(RankJob.from_json(job_json), os.dup(channel.fileno()), parent_pid)


class SpawnedRanks:
    """The processes of one test's ranks, each a child of the controller."""

    def __init__(self) -> None:
        self._processes: dict[int, BaseProcess] = {}  # by rank
        self._ended: set[int] = set()

    def start(self, job: RankJob, channel: int) -> int:
        """Starts one rank and returns its pid. `channel` is the rank's end; the caller still has to close it."""
        context = multiprocessing.get_context("spawn")
        connection = Connection(os.dup(channel), readable=False)
        process = context.Process(target=_enter_rank, args=(job.to_json(), connection, os.getpid()))
        # The terminal's Ctrl-C is the controller's to handle; a rank unblocks it once it leads its own group.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            connection.close()
        self._processes[job.rank] = process
        return process.pid or 0

    def filenos(self) -> list[int]:
        """Descriptors that become readable when a rank ends."""
        return [process.sentinel for rank, process in self._processes.items() if rank not in self._ended]

    def read_exits(self) -> list[RankExit]:
        """The ranks that have ended since the last call, without waiting."""
        exits = []
        for rank, process in self._processes.items():
            if rank in self._ended or not multiprocessing.connection.wait([process.sentinel], timeout=0):
                continue
            self.signal(rank, signal.SIGKILL)  # what the rank started and left goes with it
            process.join()
            self._ended.add(rank)
            exits.append(RankExit(rank, process.exitcode or 0, time.monotonic()))
        return exits

    def signal(self, rank: int, number: int, *, alone: bool = False) -> None:
        """Signals a rank, and unless `alone` its process group."""
        process = self._processes[rank]
        if rank not in self._ended and process.pid is not None:
            signal_rank(process.pid, number, alone=alone)

    def close(self) -> None:
        """Kills what still runs and reaps it."""
        for rank, process in self._processes.items():
            self.signal(rank, signal.SIGKILL)
            process.join()
            process.close()
            self._ended.add(rank)
        self._processes.clear()
