"""Skips: of one rank, of all, and of a test that has no rank to run on; expected failures."""

from __future__ import annotations

import sys
import unittest

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import Faulty
from torch_testing_shim.common_distributed import TEST_SKIPS, skip_if_lt_x_gpu
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Skips(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"ranks disagree: rank 1 skipped \(not for me\), ranks 0, 2 passed$")
    def test_one_rank_skips(self):
        """Rank 1 alone skips."""
        if self.is_guilty:
            self.strike()
            self.skipTest("not for me")

    @ends(Ending.ERROR, r"ranks disagree: rank 1 skipped \(not for me\), ranks 0, 2 went on$")
    @with_comms
    def test_one_rank_skips_while_others_wait(self):
        """Rank 1 alone skips, and the others wait for it."""
        self.meet()
        if self.is_guilty:
            self.strike()
            self.skipTest("not for me")
        dist.barrier()

    @ends(Ending.ERROR, r"ranks disagree: rank 1 skipped \(.*\), ranks 0, 2 passed$")
    def test_one_rank_exits_with_the_code_of_a_skip(self):
        """Rank 1 alone ends with an exit code that means a skip."""
        if self.is_guilty:
            self.strike()
            sys.exit(TEST_SKIPS["generic"].exit_code)

    @ends(Ending.ERROR, r"ranks disagree: rank 1 skipped subtest \(i=2\) \(not for me\), ranks 0, 2 passed it$")
    def test_one_rank_skips_a_subtest(self):
        """Rank 1 alone skips one of three subtests."""
        for i in range(3):
            with self.subTest(i=i):
                if self.is_guilty and i == 2:
                    self.strike()
                    self.skipTest("not for me")

    @ends(Ending.FAILED, "rank 2 failed: AssertionError: no$", "rank 1 skipped")
    def test_one_skips_and_one_fails(self):
        """Rank 1 skips, and rank 2 fails."""
        if self.is_guilty:
            self.skipTest("not for me")
        if self.rank == 2:
            self.strike()
            self.fail("no")

    @ends(Ending.SKIPPED, "nobody wants this$")
    def test_all_ranks_skip(self):
        """All ranks skip."""
        self.strike()
        self.skipTest("nobody wants this")

    @ends(Ending.SKIPPED, "Need at least 64|needs at least 64 accelerators, found \\d+$")
    @skip_if_lt_x_gpu(64)
    def test_too_few_accelerators(self):
        """Wants 64 accelerators."""
        raise AssertionError("no rank comes here")

    @ends(Ending.ERROR, "ValueError: torch does not know the process-group backend 'golo'|.*golo")
    @with_comms(backend="golo")
    def test_misspelled_backend(self):
        """Wants a process-group backend that torch does not know."""
        raise AssertionError("no rank comes here")

    def setUp(self):
        if self._testMethodName in ("test_too_few_accelerators", "test_misspelled_backend"):
            self.strike()
        super().setUp()


class NoRanks(Faulty, DTensorTestBase):
    world_size = 0

    def setUp(self):
        self.strike()
        super().setUp()

    @ends(Ending.SKIPPED, "needs at least 1 .*, found 0: world_size is 0$")
    def test_no_rank(self):
        """The world works out to no rank."""
        raise AssertionError("no rank comes here")


class NegativeWorld(Faulty, DTensorTestBase):
    world_size = -1

    def setUp(self):
        self.strike()
        super().setUp()

    @ends(Ending.SKIPPED, "needs at least 1 .*, found 0: world_size is -1$")
    def test_fewer_than_no_rank(self):
        """The world works out to fewer than no rank."""
        raise AssertionError("no rank comes here")


class Expected(Faulty, DTensorTestBase):
    @ends(Ending.EXPECTED_FAILURE)
    @unittest.expectedFailure
    def test_expected_failure(self):
        """Rank 1 fails as it is expected to."""
        if self.is_guilty:
            self.strike()
            self.fail("as expected")

    @ends(Ending.UNEXPECTED_SUCCESS)
    @unittest.expectedFailure
    def test_unexpected_success(self):
        """Is expected to fail and passes."""
        self.strike()
