"""Running ranks learn of their own ends, and end before others start."""

import signal
import sys
import time
from pathlib import Path

from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.rank_servers import start_zygote
from torch_testing_shim._engine.running_ranks import RunningRanks
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until


class Rank:
    """The work of the forked ranks."""

    @classmethod
    def _run(cls, *args, **kwargs):
        time.sleep(3600)


class Ends(TestCase):
    def start(self, zygote):
        scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, scratch)
        jobs = [RankJob(__name__, __file__, "Rank", "test", rank, 2, str(scratch.path), "") for rank in range(2)]
        ranks = RunningRanks(jobs, zygote)
        self.addCleanup(ranks.close)
        ranks.start()
        return ranks

    def test_of_ranks_of_another_test(self):
        zygote = start_zygote()
        self.addCleanup(zygote.close)
        first = self.start(zygote)
        first.signal(0, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: first.note_exits() or first.ends))
        self.assertEqual([(0, first.pids[0])], [(end.rank, end.pid) for end in first.ends.values()])
        second = self.start(zygote)
        zygote.signal(first.pids[1], signal.SIGKILL)
        time.sleep(0.2)
        second.signal(0, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: second.note_exits() or second.ends))
        self.assertEqual([second.pids[0]], [end.pid for end in second.ends.values()])
        first._live.clear()  # its last end was told to the second


class StartedTwice(SampleTestCase):
    def test_the_next_test_notices_nothing(self):
        run = self.run_sample(
            """
            from torch_testing_shim.common_distributed import MultiProcContinuousTest

            class ATwice(DTensorTestBase):
                world_size = 2

                def setUp(self):
                    super().setUp()
                    self._spawn_processes()

                @with_comms
                def test_a(self):
                    pass

            class BSetUpTwice(DTensorTestBase):
                world_size = 2

                def setUp(self):
                    super().setUp()
                    super().setUp()

                @with_comms
                def test_a(self):
                    pass

            class CKept(MultiProcContinuousTest):
                world_size = 2

                @classmethod
                def backend_str(cls):
                    return "gloo"

                @classmethod
                def tearDownClass(cls):
                    pass  # without super's: the ranks stay when the next class begins

                def test_a(self):
                    dist.barrier()

            class DInnocent(DTensorTestBase):
                world_size = 2

                @with_comms
                def test_a(self):
                    pass

                @with_comms
                def test_b(self):
                    pass

            class EKept(CKept):
                pass
            """
        )
        reason = "LaunchError: the ranks have been started already: setUp calls _spawn_processes twice"
        self.assert_status(run, "ATwice.test_a", TestStatus.ERROR, reason)
        others = {test: entry.status for test, entry in run.entries.items() if test != "ATwice.test_a"}
        self.assertEqual({TestStatus.PASSED}, set(others.values()), run.output)
        self.assertEqual(5, len(others))


if __name__ == "__main__":
    run_tests()
