"""A controller keeps nothing of tests that have run: not the test cases, and of one that is kept, not its ranks."""

from harness_samples import SampleTestCase

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import run_tests

SAMPLE = """
import gc, weakref
cases, ranks, kept = [], [], []

class LetsGo(DTensorTestBase):
    world_size = 1

    def setUp(self):
        gc.collect()
        self.still_there = [sum(one() is not None for one in seen) for seen in (cases[:-1], ranks[:-1])]
        super().setUp()
        cases.append(weakref.ref(self))

    def tearDown(self):
        if self.still_there != [0, 0]:
            raise RuntimeError(f"{self.still_there} test cases and ranks are still there")
        super().tearDown()

class LetsGoOfRanks(LetsGo):
    def setUp(self):
        super().setUp()
        cases.clear()
        kept.append(self)
        ranks.append(weakref.ref(self._ranks._running))

for number in range(4):
    for test_class in (LetsGo, LetsGoOfRanks):
        setattr(test_class, f"test_{number}", lambda self: None)
"""


class KeepsNothing(SampleTestCase):
    def test_of_tests_that_have_run(self):
        run = self.run_sample(SAMPLE)
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(8, len(run.entries))
        for test in run.entries:
            self.assert_status(run, test, TestStatus.PASSED)


if __name__ == "__main__":
    run_tests()
