"""Operators on DTensors checked against plain tensors: the conversion itself, and that a wrong operator is found."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness_samples import SampleTestCase


class InRanks(SampleTestCase):
    def test_operators_and_subtests(self):
        run = self.run_sample(
            """
            from torch.distributed.tensor import DTensor, Shard, distribute_tensor

            class Ops(DTensorTestBase):
                world_size = 2

                @with_comms
                def test_right(self):
                    mesh = self.build_device_mesh()
                    self._test_op(mesh, torch.add, torch.rand(4, 2), torch.rand(4, 2))
                    if hasattr(self, "_test_op_on_dtensor"):  # torch 2.6 has none
                        self._test_op_on_dtensor(torch.neg, distribute_tensor(torch.rand(4), mesh, [Shard(0)]))

                @with_comms
                def test_wrong(self):
                    self._test_op(
                        self.build_device_mesh(), lambda x: x + isinstance(x, DTensor), torch.rand(4)
                    )

                @with_comms
                def test_wrong_on_dtensor(self):
                    x = distribute_tensor(torch.rand(4), self.build_device_mesh(), [Shard(0)])
                    if not hasattr(self, "_test_op_on_dtensor"):
                        self.fail("not close, as far as torch 2.6 can tell")
                    self._test_op_on_dtensor(lambda x: x + isinstance(x, DTensor), x)

                @with_comms
                def test_subtests(self):
                    seen = []
                    self.run_subtests({"a": [1, 2], "b": ["x"]}, lambda c, a, b: seen.append((c, a, b)), "c")
                    self.assertEqual(seen, [("c", 1, "x"), ("c", 2, "x")])

                @with_comms
                def test_failing_subtest(self):
                    self.run_subtests({"a": [1, 2]}, lambda a: self.assertEqual(a, 1))
            """
        )
        self.assert_status(run, "Ops.test_right", TestStatus.PASSED)
        self.assert_status(run, "Ops.test_wrong", TestStatus.FAILED, "not close")
        self.assert_status(run, "Ops.test_wrong_on_dtensor", TestStatus.FAILED, "not close")
        self.assert_status(run, "Ops.test_subtests", TestStatus.PASSED)
        self.assert_status(run, "Ops.test_failing_subtest", TestStatus.FAILED, r"in subtest \(a=2\): ")


if __name__ == "__main__":
    run_tests()
