"""Tests that only some ranks run, or none: one rank skips, no rank is started."""

import sys
import unittest

from torch.testing._internal.common_distributed import TEST_SKIPS, MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests


class OneRankSkipsTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_other_rank_skips(self):
        if self.rank == 1:
            raise unittest.SkipTest("only rank 1 skips")

    def test_other_rank_skips_by_exit_code(self):
        if self.rank == 1:
            sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    def test_first_rank_skips(self):
        if self.rank == 0:
            raise unittest.SkipTest("only rank 0 skips")


class NoRankTest(MultiProcessTestCase):
    world_size = 0

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_nobody_runs_this(self):
        self.fail("no rank, no failure")


if __name__ == "__main__":
    run_tests()
