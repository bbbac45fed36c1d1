"""Ranks that get stuck in several ways, for the tests of what is asked of them."""

import ctypes
import sys
import threading
import time

import torch
import torch.distributed as dist
from harness_samples import wait_until

from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.launcher import RankStarter
from torch_testing_shim.common_utils import TestCase

#: Longer than any wait of these tests may take, in seconds, and far shorter than the sleeps of the ranks.
SOON = 30.0
FOREVER = 3600


class Ranks:
    """The work of the ranks, by method name. Each says when it may be asked: a process group may not while it is made,
    for the signal that asks for stacks comes between its connections."""

    @classmethod
    def _run(cls, rank, method, file_name, channel, **kwargs):
        getattr(cls, method)(rank, file_name)

    def waits_in_a_collective(rank, file_name):
        dist.init_process_group("gloo", init_method=f"file://{file_name}", rank=rank, world_size=2)
        dist.barrier()
        print("started", flush=True)
        if rank == 0:
            threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()
            dist.all_reduce(torch.ones(3))
        time.sleep(FOREVER)

    def holds_the_interpreters_lock(rank, file_name):
        print("started", flush=True)
        ctypes.PyDLL(None).sleep(FOREVER)

    def sleeps(rank, file_name):
        print("started", flush=True)
        time.sleep(FOREVER)

    def counts_its_threads(rank, file_name):
        print("started", flush=True)
        print(threading.active_count(), len(threading.enumerate()), flush=True)
        time.sleep(FOREVER)


class StuckRanksTestCase(TestCase):
    """Starts ranks that get stuck, and ends them.

    Attributes:
        RANKS: the class that has the methods which ranks run.
    """

    RANKS = Ranks

    def start(self, method, world_size):
        starter = RankStarter()
        self.addCleanup(starter.close)
        scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, scratch)
        where = self.RANKS.__module__, sys.modules[self.RANKS.__module__].__file__, self.RANKS.__qualname__
        jobs = [
            RankJob(*where, method, r, world_size, str(scratch.path), str(scratch.rendezvous))
            for r in range(world_size)
        ]
        ranks = starter.launch(jobs)
        self.addCleanup(ranks.close)
        for job in jobs:  # before that, a rank has not arranged for what it may be asked
            output = job.folder.output(job.rank)
            self.assertTrue(wait_until(lambda output=output: output.exists() and output.read_text()))
        return ranks
