"""Many tests on four ranks in one process, one in ten of them with a fault; before every tenth, the process and its
zygote are measured.

BENCH_TESTS says how many tests.
"""

import gc
import os
from unittest import mock

import torch
import torch.distributed as dist
from bench import sentinel
from bench.holdings import note_holdings
from conform.soak_faults import HANG_SECONDS, fault_of

from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests, subtest
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

_TESTS = int(os.environ["BENCH_TESTS"])
_MEASURED_EVERY = 10


class Soak(DTensorTestBase):
    world_size = int(os.environ["BENCH_RANKS"])

    def run(self, result=None):
        """Measures between two tests, when no rank runs, and what only cycles of references hold is gone."""
        number = self.number
        if STARTER.kept[0] and number % _MEASURED_EVERY == 0:
            (zygote,) = STARTER.kept[0]
            gc.collect()
            note_holdings(sentinel.notes(), number, {"controller": os.getpid(), "zygote": zygote})
        return super().run(result)

    def setUp(self):
        fault = fault_of(self.number)
        if fault is not None and fault.name == "hangs":
            with mock.patch.dict(os.environ, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT=str(HANG_SECONDS)):
                super().setUp()
        else:
            super().setUp()

    @property
    def number(self) -> int:
        return int(self._testMethodName.rpartition("_")[2])

    @with_comms
    @parametrize("number", [subtest(number, name=f"{number:06}") for number in range(_TESTS)])
    def test_all_reduce(self, number):
        tensor = torch.full((4,), float(self.rank + number))
        dist.all_reduce(tensor)
        expected = sum(rank + number for rank in range(self.world_size))
        self.assertEqual(torch.full((4,), float(expected)), tensor)
        fault = fault_of(number)
        if fault is not None:
            if self.rank == 1:
                fault.happen()
            dist.barrier()


instantiate_parametrized_tests(Soak)
if __name__ == "__main__":
    run_tests()
