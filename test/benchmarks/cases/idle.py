"""One test whose ranks, with a process group, wait until the benchmark has read how much memory they hold."""

import os

from bench import sentinel

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class IdleTest(DTensorTestBase):
    world_size = int(os.environ["BENCH_RANKS"])

    @with_comms
    def test_wait(self):
        sentinel.announce_and_wait(self.rank)


if __name__ == "__main__":
    run_tests()
