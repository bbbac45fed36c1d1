"""Skips by exit code: TEST_SKIPS used by hand, and the decorators that use it inside ranks."""

import os
import sys

from torch.testing._internal.common_distributed import (
    TEST_SKIPS,
    MultiProcessTestCase,
    import_transformers_or_skip,
    nccl_skip_if_lt_x_gpu,
    require_n_gpus_for_nccl_backend,
    skip_if_lt_x_gpu,
    skip_if_no_gpu,
    skip_if_odd_worldsize,
    skip_if_small_worldsize,
)
from torch.testing._internal.common_utils import run_tests


class ExitCodeSkipTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        os.environ["WORLD_SIZE"] = str(self.world_size)
        os.environ["BACKEND"] = "gloo"
        self._spawn_processes()

    def test_by_hand(self):
        sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    def test_backend_unavailable(self):
        if self.world_size == 2:
            sys.exit(TEST_SKIPS["backend_unavailable"].exit_code)
        self.fail("must not run")

    @skip_if_no_gpu
    def test_no_gpu(self):
        self.fail("must not run without a GPU")

    @skip_if_lt_x_gpu(2)
    def test_two_gpus(self):
        self.fail("must not run without GPUs")

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_two_gpus_or_the_cpu(self):
        self.assertIn(self.rank, (0, 1))

    @skip_if_small_worldsize
    def test_small_world(self):
        self.fail("must not run on two ranks")

    @skip_if_odd_worldsize
    def test_even_world(self):
        self.assertIn(self.rank, (0, 1))

    @require_n_gpus_for_nccl_backend(2, "nccl")
    def test_nccl_needs_gpus(self):
        self.fail("must not run without GPUs")

    @require_n_gpus_for_nccl_backend(2, "gloo")
    def test_gloo_needs_none(self):
        self.assertIn(self.rank, (0, 1))

    @nccl_skip_if_lt_x_gpu("gloo", 2)
    def test_gloo_counts_nothing(self):
        self.assertIn(self.rank, (0, 1))

    @import_transformers_or_skip()
    def test_transformers(self):
        self.assertIn("transformers", sys.modules)


if __name__ == "__main__":
    run_tests()
