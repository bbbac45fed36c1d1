"""A base class in the style of DeepSpeed's `DistributedTest`, in few lines: each test runs in a pool of processes."""

import os
import socket

import torch.distributed as dist
import torch.multiprocessing as mp


class DistributedClass:
    world_size = 2
    seconds = 600

    def on_ranks(self, method, *arguments):
        """Run a method on `world_size` ranks, each with a process group."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]  # another process may take it before rank 0 does
        calls = [(method, rank, port, arguments) for rank in range(self.world_size)]
        with mp.get_context("forkserver").Pool(self.world_size) as pool:
            pool.starmap_async(self._in_rank, calls, chunksize=1).get(self.seconds)
            pool.close()
            pool.join()

    def _in_rank(self, method, rank, port, arguments):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank))
        dist.init_process_group("gloo", rank=rank, world_size=self.world_size)
        getattr(self, method)(*arguments)
        dist.barrier()
        dist.destroy_process_group()
