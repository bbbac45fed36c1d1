"""Ranks that answer a check together, and shards that are compared where they lie."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.agreement import agreed_between_ranks

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


class BetweenRanks(SampleTestCase):
    def test_all_ranks_fail_with_the_guilty_one(self):
        run = self.run_sample(
            """
            from torch_testing_shim.distributed.agreement import agreed_between_ranks

            class Agreement(DTensorTestBase):
                @with_comms
                def test_guilty_rank_leads(self):
                    time.sleep(0.3 if self.rank == 2 else 0)  # it notices last
                    with agreed_between_ranks():
                        self.assertNotEqual(self.rank, 2, "mine is wrong")
                    dist.barrier()  # would wait for rank 2 in vain

                @with_comms
                def test_an_error_counts_too(self):
                    with agreed_between_ranks():
                        if self.rank == 3:
                            raise KeyError("w")

                @with_comms
                def test_an_error_that_is_no_exception_counts_too(self):
                    from torch.distributed.checkpoint.api import CheckpointException
                    with agreed_between_ranks():
                        if self.rank == 3:
                            raise CheckpointException("torn", {})

                @with_comms
                def test_all_agree(self):
                    with agreed_between_ranks():
                        pass
                    dist.barrier()

                @with_comms
                def test_in_a_group(self):
                    halves = [dist.new_group([0, 1]), dist.new_group([2, 3])]
                    with agreed_between_ranks(halves[self.rank // 2]):
                        self.assertNotEqual(self.rank, 1)
                    self.assertIn(self.rank, (2, 3))
            """
        )
        reason = "rank 2 failed: AssertionError"
        entry = self.assert_status(run, "Agreement.test_guilty_rank_leads", TestStatus.FAILED, reason)
        self.assertIn("mine is wrong", entry.detail)
        self.assertIn("ranks 0, 1, 3 found nothing wrong in what they hold", entry.detail)
        self.assert_status(run, "Agreement.test_an_error_counts_too", TestStatus.ERROR, "rank 3 errored: KeyError: 'w'")
        reason = "rank 3 errored: CheckpointException"
        name = "Agreement.test_an_error_that_is_no_exception_counts_too"
        self.assertIn("ranks 0-2 found nothing wrong", self.assert_status(run, name, TestStatus.ERROR, reason).detail)
        self.assert_status(run, "Agreement.test_all_agree", TestStatus.PASSED)
        entry = self.assert_status(run, "Agreement.test_in_a_group", TestStatus.FAILED, "rank 1 failed: AssertionError")
        self.assertIn("rank 0 found nothing wrong", entry.detail)


class WithoutProcessGroup(TestCase):
    def test_the_block_is_just_run(self):
        with agreed_between_ranks():
            pass
        with self.assertRaisesRegex(ValueError, "boom"), agreed_between_ranks():
            raise ValueError("boom")


if __name__ == "__main__":
    run_tests()
