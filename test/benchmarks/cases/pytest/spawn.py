"""Functions that start their ranks by `torch.multiprocessing.spawn`, as people write them by hand."""

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from bench.function_body import NUMBERS, RANKS, all_reduce


def in_rank(rank, number, rendezvous):
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    all_reduce(number, rank)
    dist.destroy_process_group()


@pytest.mark.parametrize("number", NUMBERS)
def test_all_reduce(number, tmp_path):
    mp.spawn(in_rank, args=(number, tmp_path / "rendezvous"), nprocs=RANKS)
