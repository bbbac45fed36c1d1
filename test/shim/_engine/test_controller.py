"""A controller keeps nothing of tests that have run, neither the test cases nor, of one that is kept, its ranks. A
test's time begins with its ranks, and its report with a public name."""

import subprocess
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
preload.LAZY_IMPORTS["is_slow"] = "slow_module"

class Imports(DTensorTestBase):
    world_size = 1

    def test_passes(self):
        self.is_slow = "slow_module" in sys.modules
        self.assertTrue(self.is_slow)
"""

REPORTS = """
class Reports(DTensorTestBase):
    world_size = 1

    def test_fails(self):
        self.assertEqual(0, 1)

    def test_errs(self):
        raise ValueError
"""

#: Both names are importable without the harness, and are what pickle finds.
LAZY = """
import pickle, sys
import torch_testing_shim
assert "torch" not in sys.modules, "torch"
from torch_testing_shim import RankError, RankFailure
from torch_testing_shim._engine import controller
assert (RankError, RankFailure) == (controller.RankError, controller.RankFailure)
assert str(pickle.loads(pickle.dumps(RankFailure("told")))) == "told"
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


class Report(SampleTestCase):
    def test_begins_with_a_public_name(self):
        output = self.run_sample(REPORTS).output
        self.assertIn("\ntorch_testing_shim.RankFailure: rank 0 failed: AssertionError: ", output)
        self.assertIn("\ntorch_testing_shim.RankError: rank 0 errored: ValueError\n", output)

    def test_the_names_are_imported_when_they_are_asked_for(self):
        run = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, timeout=120)
        self.assertEqual((0, ""), (run.returncode, run.stderr))


if __name__ == "__main__":
    run_tests()
