"""DTensorTestBase with with_comms, bare and with arguments; world_size as a property; operators too."""

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class DTensorCommsTest(DTensorTestBase):
    @property
    def world_size(self) -> int:
        return 2

    @with_comms
    def test_redistribute(self):
        mesh = self.build_device_mesh()
        full = torch.arange(8.0, device=self.device_type).reshape(4, 2)
        sharded = distribute_tensor(full, mesh, [Shard(0)])
        self.assertIsInstance(sharded, DTensor)
        self.assertEqual(sharded.to_local(), full.chunk(2)[self.rank])
        self.assertEqual(sharded.redistribute(mesh, [Replicate()]).to_local(), full)

    @with_comms(eager_init=True, backend="gloo")
    def test_named_backend(self):
        self.assertEqual(dist.get_backend(), "gloo")
        self.assertEqual(dist.get_world_size(), 2)

    @with_comms
    def test_wrong_placement_is_noticed(self):
        mesh = self.build_device_mesh()
        sharded = distribute_tensor(torch.arange(4.0), mesh, [Shard(0)])
        self.assertEqual(sharded.to_local(), torch.arange(4.0))

    @with_comms
    def test_operator(self):
        self._test_op(self.build_device_mesh(), torch.add, torch.rand(4, 2), torch.rand(4, 2))

    @with_comms
    def test_wrong_operator(self):
        self._test_op(self.build_device_mesh(), lambda x: x + isinstance(x, DTensor), torch.rand(4))


if __name__ == "__main__":
    run_tests()
