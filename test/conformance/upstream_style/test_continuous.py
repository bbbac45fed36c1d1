"""MultiProcContinuousTest: ranks and process group are kept for a class; skips of single tests."""

import sys

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import TEST_SKIPS, MultiProcContinuousTest, skip_if_lt_x_gpu
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests


class ContinuousTest(MultiProcContinuousTest):
    world_size = 2
    seen = ()

    @classmethod
    def backend_str(cls):
        return "gloo"

    @property
    def device(self):
        return torch.device("cpu")

    def test_a_first(self):
        type(self).seen += ("a",)
        self.assertEqual(dist.get_rank(), self.rank)

    @parametrize("root", [0, 1])
    def test_b_broadcast(self, root):
        tensor = torch.full((2,), float(self.rank), device=self.device)
        dist.broadcast(tensor, root)
        self.assertEqual(tensor, torch.full((2,), float(root)))

    def test_c_ranks_remember(self):
        self.assertEqual(self.seen, ("a",))
        self.assertIs(self.pg, dist.group.WORLD)

    def test_d_skips_by_exit_code(self):
        sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    @skip_if_lt_x_gpu(2)
    def test_e_needs_gpus(self):
        self.fail("must not run without GPUs")

    def test_f_still_the_same_ranks(self):
        self.assertEqual(self.seen, ("a",))


instantiate_parametrized_tests(ContinuousTest)


class WorldSizePropertyTest(MultiProcContinuousTest):
    @property
    def world_size(self):
        return 2

    @world_size.setter
    def world_size(self, number):
        """The ranks are told it."""

    def test_size(self):
        self.assertEqual(dist.get_world_size(), 2)


if __name__ == "__main__":
    run_tests()
