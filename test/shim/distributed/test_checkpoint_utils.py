"""`with_temp_dir`, with and without a process group, in ranks and outside of them."""

import os
import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.checkpoint_utils import (
    with_temp_dir,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

IN_RANKS = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest
from torch_testing_shim.common_distributed import spawn_threads_and_init_comms

class Bodies:
    world_size = 2

    def _share(self):
        open(os.path.join(self.temp_dir, f"from {dist.get_rank()}"), "w").close()
        dist.barrier()
        self.assertEqual(sorted(os.listdir(self.temp_dir)), ["from 0", "from 1"])
        self.assertEqual(os.stat(self.temp_dir).st_mode & 0o777, 0o700)

    @with_temp_dir
    def test_folder(self):
        self._share()

    @with_temp_dir
    def test_next_folder(self):
        self._share()

    def test_each_call_has_its_own(self):
        with_temp_dir(type(self)._share)(self)
        with_temp_dir(type(self)._share)(self)

    @with_temp_dir
    def test_stays_until_the_last_rank_has_ended(self):
        self.addCleanup(self._check_still_there)

    def _check_still_there(self):
        time.sleep(0.2 * self.rank)
        self.assertTrue(os.path.isdir(self.temp_dir))

class Fresh(Bodies, DTensorTestBase):
    pass

for name in [name for name in dir(Bodies) if name.startswith("test_")]:
    setattr(Fresh, name, with_comms(getattr(Bodies, name)))

class Kept(Bodies, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_zero_earlier_ones_are_gone(self):
        self.assertFalse(os.path.exists(os.path.join(os.path.dirname(self.rdvz_file), "shared")))

class Threads(Bodies, SpawningThreads):
    file_name = "the test's own.txt"

class DecoratedThreads(TestCase):
    _share = Bodies._share

    @spawn_threads_and_init_comms(world_size=2)
    @with_temp_dir
    def test_folder(self):
        self._share()

class WithoutGroup(Spawning):
    def _own(self):
        open(os.path.join(self.temp_dir, f"from {self.rank}"), "w").close()
        dist.init_process_group("gloo", rank=self.rank, world_size=2, init_method=f"file://{self.file_name}")
        dist.barrier()
        self.assertEqual(os.listdir(self.temp_dir), [f"from {self.rank}"])
        self.assertEqual(os.stat(self.temp_dir).st_mode & 0o777, 0o700)

    @with_temp_dir
    def test_own_folders(self):
        self._own()
"""


class InRanks(SampleTestCase):
    def test_ranks_of_a_process_group_have_one_folder(self):
        run = self.run_sample(IN_RANKS)
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(4 + 5 + 4 + 1 + 1, len(run.entries))
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()})
        self.assertFalse((self.folder / "shared").exists(), "a folder beside a file of the test's")


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
