"""distributed_test.DistributedTest extended as a backend's maintainer does: tests replaced, added and skipped."""

import os
import unittest

os.environ["BACKEND"] = "gloo"
os.environ["WORLD_SIZE"] = "2"

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import (
    TEST_SKIPS,
    cleanup_temp_dir,
    initialize_temp_directories,
    require_n_gpus_for_nccl_backend,
    skip_if_no_gpu,
    skip_if_odd_worldsize,
    skip_if_small_worldsize,
)
from torch.testing._internal.common_utils import parametrize, run_tests, skip_but_pass_in_sandcastle_if
from torch.testing._internal.distributed import distributed_test
from torch.testing._internal.distributed.distributed_test import (
    BACKEND,
    Barrier,
    DistributedTest,
    TestDistBackend,
    _build_multidim_tensor,
    _build_tensor,
    _lock,
)

KEPT = {
    "test_all_reduce_max",
    "test_barrier",
    "test_ddp_has_finalized",
    "test_gather_checks",
    "test_nccl_backend_bool_allreduce",
}


class ExtendedSuite(TestDistBackend, DistributedTest._DistTestBase):
    """Tests that a backend does otherwise."""

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        initialize_temp_directories()

    @classmethod
    def tearDownClass(cls):
        cleanup_temp_dir()
        super().tearDownClass()

    def test_irecv(self):
        """Ours instead of torch's."""
        if self.rank == 0:
            dist.send(_build_tensor(2, 7), 1)
        else:
            tensor = _build_tensor(2, -1)
            dist.irecv(tensor, 0).wait()
            self.assertEqual(tensor, _build_tensor(2, 7))

    def test_groups_of_the_suite(self):
        group, _, rank = self._init_global_test()
        self.assertEqual((group, rank), ([0, 1], self.rank))
        self.assertEqual(int(self.world_size), 2)
        self._barrier()

    def test_helpers(self):
        self.assertEqual(_build_multidim_tensor(2, 1, 3).shape, (1, 1))
        with _lock():
            self.assertEqual(BACKEND, "gloo")
        Barrier.sync()

    @skip_if_small_worldsize
    def test_needs_more_ranks(self):
        self.fail("there are two")

    @skip_if_odd_worldsize
    def test_even(self):
        ones = torch.ones(1)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)

    @skip_if_no_gpu
    def test_needs_accelerators(self):
        self.fail("there is none")

    @require_n_gpus_for_nccl_backend(2, os.environ["BACKEND"])
    def test_not_by_nccl(self):
        self.assertEqual(dist.get_backend(), "gloo")

    @skip_but_pass_in_sandcastle_if(BACKEND == "gloo", "not for gloo")
    def test_not_for_gloo(self):
        self.fail("is skipped")

    @unittest.skip("a bug of this backend")
    def test_reduce_sum(self):
        self.fail("is skipped")

    def test_leaves_by_code(self):
        raise SystemExit(TEST_SKIPS["multi-gpu-3"].exit_code)

    def test_wrong(self):
        self.assertEqual(dist.get_rank(), 0)


for name in [name for name in dir(DistributedTest._DistTestBase) if name.startswith("test") and name not in KEPT]:
    if name not in vars(ExtendedSuite):
        setattr(ExtendedSuite, name, None)

assert distributed_test.INIT_METHOD or parametrize

if __name__ == "__main__":
    run_tests()
