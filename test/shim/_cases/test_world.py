"""How a rank leaves its group: a destroyed one is gone for Python, and its connections may still be there."""

import sys
import unittest
from pathlib import Path

import torch.distributed as dist

from torch_testing_shim._cases.world import leave_group_after
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


class KeepConnections(SampleTestCase):
    def test_connections_outlive_the_group(self):
        run = self.run_sample(
            """
            from torch_testing_shim._cases.world import keep_connections, leave_group_after, leave_group_at_end

            def sockets():
                names = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
                return sum(os.readlink(name).startswith("socket:") for name in names if os.path.lexists(name))

            class Ends(DTensorTestBase):
                world_size = 2

                def test_kept(self):
                    self.assertEqual(self._sockets_after_the_end(keep=True), "some")

                def test_not_kept(self):
                    self.assertEqual(self._sockets_after_the_end(keep=False), "none")

                def test_kept_at_the_end(self):
                    self.destroy_pg = leave_group_at_end
                    self.assertEqual(self._sockets_after_the_end(keep=False), "some")
                    leave_group_at_end()

                def test_only_a_skip_leaves_it_there(self):
                    self.init_pg()
                    dist.barrier()  # with torch 2.15 the other rank may be connecting still
                    for skip in (unittest.SkipTest("all"), SystemExit(TEST_SKIPS["multi-gpu-2"].exit_code)):
                        leave_group_after(skip)
                        self.assertTrue(dist.is_initialized())
                    leave_group_after(SystemExit(1))
                    self.assertFalse(dist.is_initialized())

                def _sockets_after_the_end(self, keep):
                    torch.accelerator.device_count()  # a driver keeps sockets of its own once it is asked
                    before = sockets()
                    self.init_pg()
                    if keep:
                        keep_connections()
                    self.destroy_pg()
                    self.assertFalse(dist.is_initialized())
                    return "some" if sockets() > before else "none"
            """
        )
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()})
        self.assertEqual(4, len(run.entries))

    def test_the_group_of_a_test_that_made_it_itself_is_not_closed_either(self):
        run = self.run_sample(
            """
            import weakref

            class Ends(Spawning):
                def test_group(self):
                    store = dist.FileStore(self.file_name, self.world_size)
                    dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
                    self.closed = weakref.finalize(dist.group.WORLD, int)

                def run_test(self, test_name, parent_pipe):
                    super().run_test(test_name, parent_pipe)
                    assert not dist.is_initialized()
                    assert self.closed.alive, "torch 2.6 may never end it"
            """
        )
        self.assert_status(run, "Ends.test_group", TestStatus.PASSED)


class LeaveGroup(TestCase):
    def test_outside_of_ranks_nothing_leaves_it_there(self):
        for error in (unittest.SkipTest("all"), SystemExit(1), ValueError("so")):
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
            leave_group_after(error)
            self.assertFalse(dist.is_initialized())
        leave_group_after(ValueError("after the test has destroyed it"))


if __name__ == "__main__":
    run_tests()
