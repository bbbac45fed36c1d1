"""`with_temp_dir`, with and without a process group, in ranks and outside of them."""

import os

from harness_samples import SampleTestCase

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir


class InRanks(SampleTestCase):
    def test_all_ranks_have_one_folder(self):
        run = self.run_sample(
            """
            class Folders(DTensorTestBase):
                def _share(self):
                    open(os.path.join(self.temp_dir, f"from {self.rank}"), "w").close()
                    dist.barrier()
                    self.assertEqual(sorted(os.listdir(self.temp_dir)), [f"from {rank}" for rank in range(4)])

                @with_comms
                @with_temp_dir
                def test_with_process_group(self):
                    self._share()

                @with_temp_dir
                @with_comms
                def test_before_process_group(self):
                    self._share()

                @with_comms
                def test_each_call_has_its_own(self):
                    with_temp_dir(type(self)._share)(self)
                    with_temp_dir(type(self)._share)(self)

                @with_temp_dir
                def test_without_process_group(self):
                    open(os.path.join(self.temp_dir, f"from {self.rank}"), "w").close()
                    self.assertEqual(os.stat(self.temp_dir).st_mode & 0o777, 0o700)

                @with_comms
                @with_temp_dir
                def test_stays_until_the_last_rank_has_ended(self):
                    self.addCleanup(self._check_still_there)

                def _check_still_there(self):
                    time.sleep(0.2 * self.rank)
                    self.assertTrue(os.path.isdir(self.temp_dir))
            """
        )
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(5, len(run.entries))
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()})


class OutsideOfRanks(TestCase):
    @with_temp_dir
    def test_folder_is_there(self):
        self.assertTrue(os.path.isdir(self.temp_dir))
        type(self).seen = self.temp_dir
        self.addCleanup(self._check_gone)

    def _check_gone(self):
        self.assertFalse(os.path.exists(self.temp_dir))

    def test_folder_is_removed_after_a_failure(self):
        @with_temp_dir
        def fail(case):
            raise ValueError(case.temp_dir)

        with self.assertRaises(ValueError) as caught:
            fail(self)
        self.assertFalse(os.path.exists(str(caught.exception)))

    def test_called_without_a_function(self):
        with self.assertRaisesRegex(AssertionError, "write @with_temp_dir, without parentheses"):
            with_temp_dir()


if __name__ == "__main__":
    run_tests()
