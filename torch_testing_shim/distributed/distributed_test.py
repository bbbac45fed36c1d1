"""Upstream's `distributed.distributed_test`: PyTorch's own suite of collectives, so its names only say so."""

from __future__ import annotations

from torch_testing_shim._absent_names import AbsentName

__all__ = ["DistributedTest", "TestDistBackend"]

DistributedTest = AbsentName(f"{__name__}.DistributedTest", "is PyTorch's own test suite of collectives")
TestDistBackend = AbsentName(f"{__name__}.TestDistBackend", "is the base of PyTorch's own test suite of collectives")
