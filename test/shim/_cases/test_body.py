"""`RankTestCase`: what the base classes of tests with ranks do with the method that they are made for."""

import sys
from pathlib import Path

from torch_testing_shim._cases.body import RankTestCase
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


class WrappedMethod(TestCase):
    class Case(RankTestCase):
        def join_or_run(self, method):
            return lambda: f"wrapped {method()}"

        def test_a(self):
            return "plain"

    def test_either_spelling_names_the_method(self):
        for case in (self.Case("test_a"), self.Case(methodName="test_a"), self.Case("runTest", "test_a")):
            self.assertEqual(("test_a", "wrapped plain"), (case._testMethodName, case.test_a()))
        self.assertEqual("plain", self.Case.test_a(case))

    def test_a_method_that_is_not_there(self):
        self.assertEqual("runTest", self.Case()._testMethodName)
        with self.assertRaisesRegex(ValueError, "no such test method"):
            self.Case("test_b")


WITHOUT_SUPER = """
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest, MultiThreadedTestCase
from torch_testing_shim.common_fsdp import FSDPTest
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase, DTensorOpTestBase

class Incomplete:
    def setUp(self):
        pass

    def test_it(self):
        print("the body")

class SpawnsProcesses(MultiProcessTestCase):
    def setUp(self):
        self._spawn_processes()

    test_it = Incomplete.test_it

class SpawnsThreads(MultiThreadedTestCase):
    def setUp(self):
        self._spawn_threads()

    test_it = Incomplete.test_it

for base in (
    MultiProcessTestCase, DistributedTestBase, DTensorTestBase, ShardedTensorTestBase, FSDPTest,
    MultiProcContinuousTest, DTensorContinuousTestBase, MultiThreadedTestCase, DTensorOpTestBase,
):
    name = f"Of{base.__name__}"
    globals()[name] = type(name, (Incomplete, base), {"__module__": __name__})
del base
"""


class SetUps(SampleTestCase):
    def test_a_set_up_without_super(self):
        run = self.run_sample(WITHOUT_SUPER)
        self.assertEqual(11, len(run.entries), run.output)
        for test in run.entries:
            reason = r"^LaunchError: no rank was started: setUp has to begin with super\(\)\.setUp\(\)$"
            self.assert_status(run, test, TestStatus.ERROR, reason)
        self.assertNotIn("the body", run.output)


if __name__ == "__main__":
    run_tests()
