"""A controller keeps nothing of tests that have run, neither the test cases nor, of one that is kept, its ranks; and a
test's time begins with its ranks."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

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

#: The parent process of the ranks imports what this names longer than the test may take.
IMPORTS_AHEAD = """
from torch_testing_shim._engine import preload
preload.LAZY_IMPORTS["is_slow"] = ("slow_module",)

class Imports(DTensorTestBase):
    world_size = 1

    def test_passes(self):
        self.is_slow = "slow_module" in sys.modules
        self.assertTrue(self.is_slow)
"""


class KeepsNothing(SampleTestCase):
    def test_of_tests_that_have_run(self):
        run = self.run_sample(SAMPLE)
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(8, len(run.entries))
        for test in run.entries:
            self.assert_status(run, test, TestStatus.PASSED)


class Deadline(SampleTestCase):
    def test_what_is_imported_ahead_is_no_time_of_the_tests(self):
        (self.folder / "slow_module.py").write_text("import time\ntime.sleep(5)\n")
        run = self.run_sample(IMPORTS_AHEAD, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="4")
        self.assert_status(run, "Imports.test_passes", TestStatus.PASSED)


if __name__ == "__main__":
    run_tests()
