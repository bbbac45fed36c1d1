"""Many tests on four ranks in one process, one in ten of them with a fault; before every tenth, the process and its
zygote are measured.

BENCH_TESTS says how many tests. Where SOAK_WITHOUT_FAULTS is set, none has a fault; reused ranks then measure
themselves.
"""

import gc
import os
from unittest import mock

import torch
import torch.distributed as dist
from bench import sentinel
from bench.holdings import note_holdings
from bench.plan import REUSE_RANKS
from conform.soak_faults import HANG_SECONDS, WITHOUT_FAULTS, fault_of

from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests, subtest
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

_TESTS = int(os.environ["BENCH_TESTS"])
_MEASURED_EVERY = 10
_HAS_FAULTS = WITHOUT_FAULTS not in os.environ
_MEASURES_RANKS = not _HAS_FAULTS and REUSE_RANKS in os.environ


class Soak(DTensorTestBase):
    world_size = int(os.environ["BENCH_RANKS"])

    def run(self, result=None):
        """Measure between two tests, when no rank runs, and what only cycles of references hold is gone."""
        number = self.number
        if STARTER.kept[0] and number % _MEASURED_EVERY == 0:
            (zygote,) = STARTER.kept[0]
            gc.collect()
            note_holdings(sentinel.notes(), number, {"controller": os.getpid(), "zygote": zygote})
        return super().run(result)

    def setUp(self):
        fault = self.fault
        if fault is not None and fault.name == "hangs":
            with mock.patch.dict(os.environ, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT=str(HANG_SECONDS)):
                super().setUp()
        else:
            super().setUp()

    @property
    def number(self) -> int:
        return int(self._testMethodName.rpartition("_")[2])

    @property
    def fault(self):
        return fault_of(self.number) if _HAS_FAULTS else None

    @with_comms
    @parametrize("number", [subtest(number, name=f"{number:06}") for number in range(_TESTS)])
    def test_all_reduce(self, number):
        if _MEASURES_RANKS and number % _MEASURED_EVERY == 0:
            gc.collect()
            note_holdings(sentinel.notes(f"rank {self.rank}"), number, {f"rank {self.rank}": os.getpid()})
        tensor = torch.full((4,), float(self.rank + number))
        dist.all_reduce(tensor)
        expected = sum(rank + number for rank in range(self.world_size))
        self.assertEqual(torch.full((4,), float(expected)), tensor)
        if self.fault is not None:
            if self.rank == 1:
                self.fault.happen()
            dist.barrier()


instantiate_parametrized_tests(Soak)
if __name__ == "__main__":
    run_tests()
