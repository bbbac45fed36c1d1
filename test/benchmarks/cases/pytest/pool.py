"""The pattern of DeepSpeed's `DistributedTest`: a pool of processes, from a fork server, for each test.

It is written here in our own words. The method runs in the pool's processes, each with a process group; the results
are awaited for a limited time.
"""

import os
import socket

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from bench.function_body import NUMBERS, RANKS, all_reduce

SECONDS = 600


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class OnPool:
    world_size = RANKS

    def run(self, method, *arguments):
        """Run a method in a pool of ranks."""
        port = free_port()
        calls = [(method, rank, port, arguments) for rank in range(self.world_size)]
        with mp.get_context("forkserver").Pool(self.world_size) as pool:
            pool.starmap_async(self._in_rank, calls, chunksize=1).get(SECONDS)
            pool.close()
            pool.join()

    def _in_rank(self, method, rank, port, arguments):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank))
        dist.init_process_group("gloo", rank=rank, world_size=self.world_size)
        getattr(self, method)(*arguments)
        dist.barrier()
        dist.destroy_process_group()


class TestPool(OnPool):
    @pytest.mark.parametrize("number", NUMBERS)
    def test_all_reduce(self, number):
        self.run("check_all_reduce", number)

    def check_all_reduce(self, number):
        all_reduce(number, dist.get_rank())
