"""Operators on DTensors checked against plain tensors: the conversion itself, and that a wrong operator is found."""

import tempfile

import torch
import torch.distributed as dist
from harness_samples import SampleTestCase
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorConverter


class Conversion(TestCase):
    """On a mesh of one rank, where every size divides evenly."""

    def setUp(self):
        super().setUp()
        with tempfile.NamedTemporaryFile(delete=False) as rendezvous:
            dist.init_process_group("gloo", init_method=f"file://{rendezvous.name}", rank=0, world_size=1)
        self.addCleanup(dist.destroy_process_group)
        self.mesh = init_device_mesh("cpu", (1,))

    def test_every_combination_once(self):
        converter = DTensorConverter(self.mesh, (torch.rand(2, 3), 7), {"other": [torch.rand(2)]})
        seen = [(args[0].placements, args[1], kwargs["other"][0].placements) for args, kwargs in converter]
        firsts, others = (Replicate(), Shard(0), Shard(1)), (Replicate(), Shard(0))
        self.assertEqual({((a,), 7, (b,)) for a in firsts for b in others}, set(seen))
        self.assertEqual(6, len(seen))
        self.assertTrue(converter.successful())
        self.assertEqual(12, converter.hit)

    def test_replicate_only_bool_and_scalars(self):
        self.assertEqual(1, len(list(DTensorConverter(self.mesh, (torch.rand(2, 3),), {}, replicate_only=True))))
        self.assertEqual(1, len(list(DTensorConverter(self.mesh, (torch.ones(4, dtype=torch.bool),), {}))))
        ((args, _),) = DTensorConverter(self.mesh, (torch.tensor(3.0),), {})
        self.assertEqual((Replicate(),), args[0].placements)

    def test_what_cannot_be_converted_is_a_miss(self):
        class Subclass(torch.Tensor):
            pass

        for tensor in (torch.eye(2).to_sparse(), torch.rand(2).as_subclass(Subclass), torch.rand(2, device="meta")):
            converter = DTensorConverter(self.mesh, (tensor,), {})
            ((args, _), *_) = converter
            self.assertIs(tensor, args[0])
            self.assertFalse(converter.successful())

    def test_parameters_stay_parameters(self):
        ((args, _),) = DTensorConverter(self.mesh, (torch.nn.Parameter(torch.tensor(1.0)),), {})
        self.assertIsInstance(args[0], torch.nn.Parameter)
        self.assertIsInstance(args[0].data, DTensor)


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
                    self._test_op_on_dtensor(torch.neg, distribute_tensor(torch.rand(4), mesh, [Shard(0)]))

                @with_comms
                def test_wrong(self):
                    self._test_op(
                        self.build_device_mesh(), lambda x: x + isinstance(x, DTensor), torch.rand(4)
                    )

                @with_comms
                def test_wrong_on_dtensor(self):
                    x = distribute_tensor(torch.rand(4), self.build_device_mesh(), [Shard(0)])
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
