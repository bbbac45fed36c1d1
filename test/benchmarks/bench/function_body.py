"""The body of the tests that `bench_pytest.py` times, whoever starts the ranks: one all_reduce, its result checked."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from bench import sentinel

#: One number for each test.
NUMBERS = range(int(os.environ.get("BENCH_TESTS", "20")))
RANKS = int(os.environ.get("BENCH_RANKS", "4"))


def all_reduce(number: int, rank: int) -> None:
    """Run test `number` in a rank that has a process group."""
    tensor = torch.full((4,), float(rank + number))
    dist.all_reduce(tensor)
    expected = sum(other + number for other in range(dist.get_world_size()))
    assert torch.equal(torch.full((4,), float(expected)), tensor)
    sentinel.leave_by_name(f"test_{number}", rank)
