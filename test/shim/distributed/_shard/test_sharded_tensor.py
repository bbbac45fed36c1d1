"""`distributed._shard`: the base class of tests of sharded tensors, its `with_comms`, specs and models."""

from unittest import mock

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed import rpc
from torch.distributed._shard import shard_parameter, sharded_tensor

from torch_testing_shim._cases import sharded_tensors
from torch_testing_shim._cases.sharded_tensors import rank_placements
from torch_testing_shim._engine.devices import DeviceInUse, rank_device
from torch_testing_shim._skips.conditions import skip_reason
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._shard.sharded_tensor import (
    TEST_GPU_NUM,
    ShardedTensorTestBase,
    _test_st_common as st_common,
    with_comms,
)
from torch_testing_shim.distributed._shard.sharded_tensor._test_ops_common import (
    clone_module_parameter,
    generate_chunk_sharding_specs_for_test,
    generate_enumerable_sharding_specs_for_test,
    generate_local_weight_sharding_params_for_test,
)
from torch_testing_shim.distributed._shard.sharded_tensor._test_st_common import (
    MyShardedModel1,
    _chunk_sharding_specs_list_for_test,
)
from torch_testing_shim.distributed._shard.test_common import SimpleMegatronLM

ACCELERATORS = DeviceInUse("cuda", 4)


def on(device):
    """A context in which placements are those of this device."""
    return mock.patch("torch_testing_shim._engine.devices.device_in_use", return_value=device)


class Ranks(ShardedTensorTestBase):
    @with_comms(init_rpc=False)
    def test_process_group(self):
        self.assertEqual((TEST_GPU_NUM, self.rank), (dist.get_world_size(), dist.get_rank()))
        self.assertEqual("gloo", dist.get_backend())  # in place of nccl, which the CPU has not
        self.assertFalse(rpc.api._is_current_rpc_agent_set())

    @with_comms(init_rpc=False, backend="gloo")
    def test_sharded_tensors(self):
        (spec,) = _chunk_sharding_specs_list_for_test([0], seed=2)
        one = sharded_tensor.rand(spec, 10, 20)
        self.assert_sharded_tensor_equal(one, one)
        other = sharded_tensor.rand(spec, 10, 20)
        with self.assertRaises(AssertionError):
            self.assert_sharded_tensor_equal(one, other)
        with self.assertRaises(AssertionError):
            self.assert_sharded_tensor_equal(one, sharded_tensor.rand(spec, 20, 20))
        (quarters,) = generate_enumerable_sharding_specs_for_test()
        quarter = sharded_tensor.rand(quarters, 10, 10).local_shards()[0]
        self.assertEqual((5, 5), tuple(quarter.tensor.shape))

    @with_comms(init_rpc=False)
    def test_part_of_a_weight(self):
        """Where the helper says that a rank's part lies, torch has put it."""
        for dim in (0, 1):
            for spec in generate_chunk_sharding_specs_for_test(dim):
                module = nn.Linear(6, 10).to(rank_device(self.rank))
                dist.broadcast(module.weight.data, 0)
                whole = clone_module_parameter(module, "weight")
                begin, length = generate_local_weight_sharding_params_for_test(whole, dim, 4, spec, self.rank)
                shard_parameter(module, "weight", spec)
                self.assertEqual(module.weight.local_tensor(), whole.detach().narrow(dim, begin, length))
                self.assertLess(length, whole.shape[dim])

    @with_comms(init_rpc=False)
    def test_megatron(self):
        device = rank_device(self.rank)
        model = SimpleMegatronLM(((6, 8), (8, 6))).to(device)
        model(torch.ones(1, 6, device=device)).sum().backward()
        layers = (model.fc1, model.fc2)
        self.assertEqual(tuple(each.weight for each in layers), model.get_weights())
        self.assertEqual(tuple(each.bias for each in layers), model.get_biases())
        self.assertEqual(tuple(each.weight.grad for each in layers), model.get_weight_grads())
        self.assertEqual(tuple(each.bias.grad for each in layers), model.get_bias_grads())
        inputs = torch.rand(2, 6, device=device)
        self.assertEqual(model(inputs), model.fc2(nn.functional.gelu(model.fc1(inputs))))
        spec = generate_chunk_sharding_specs_for_test(0)[0]
        shard_parameter(model.fc1, "weight", spec)
        self.assertEqual((2, 6), tuple(model.get_weights()[0].shape))
        self.assertEqual(torch.float64, SimpleMegatronLM(((1, 1), (1, 1)), dtype=torch.float64).fc1.weight.dtype)

    @with_comms
    def test_rpc(self):
        self.assertEqual(self.rank, rpc.get_worker_info().id)
        peer = f"worker{(self.rank + 1) % self.world_size}"
        self.assertEqual(3, rpc.rpc_sync(peer, max, args=(1, 3)))
        (spec,) = _chunk_sharding_specs_list_for_test([0])
        model = MyShardedModel1(spec)
        self.assertEqual(3, sum(map(len, model.sharded_tensor1.remote_shards().values())))
        self.assertEqual((10, 20), tuple(model.submodule.sharded_tensor2.size()))

    def test_after_an_exception_the_group_is_gone(self):
        """Without a barrier: the others may never come. Here all ranks raise."""

        @with_comms(init_rpc=False)
        def failing(case):
            dist.barrier()  # all have connected: one that has not would find the connection closed
            raise KeyError(dist.get_rank())

        with self.assertRaises(KeyError):
            failing(self)
        self.assertFalse(dist.is_initialized())


class Alone(TestCase):
    def decorated(self, device, **arguments):
        """Why a test with `with_comms` would be skipped on this device, as is known without ranks."""
        with (
            mock.patch.object(sharded_tensors, "device_in_use", return_value=device),
            mock.patch("torch_testing_shim._skips.by_ranks.device_in_use", return_value=device),
            mock.patch.object(dist, "is_backend_available", return_value=True),
        ):
            return skip_reason(Ranks("test_rpc"), with_comms(**arguments)(lambda case: None))

    def test_too_few_devices(self):
        self.assertEqual("needs at least 4 accelerators, found 2", self.decorated(DeviceInUse("cuda", 2)))
        self.assertIsNone(self.decorated(ACCELERATORS))
        self.assertIsNone(self.decorated(DeviceInUse("cpu", 0)))

    def test_upstreams_own_files_are_skipped_where_upstream_skips_them(self):
        with mock.patch.object(sharded_tensors, "is_installed", return_value=True):
            reason = "needs a device that nccl serves, found cpu"
            self.assertEqual(reason, self.decorated(DeviceInUse("cpu", 0)))
            self.assertIsNone(self.decorated(DeviceInUse("cpu", 0), backend="gloo"))
            self.assertIsNone(self.decorated(DeviceInUse("cpu", 0, chosen=True)))
            self.assertEqual("needs a device that nccl serves, found xpu", self.decorated(DeviceInUse("xpu", 4)))
            self.assertIsNone(self.decorated(ACCELERATORS))

    def test_backend_for_the_device(self):
        for device, asked, used in (
            (DeviceInUse("cpu", 0), "nccl", "gloo"),
            (DeviceInUse("cpu", 0), "gloo", "gloo"),
            (ACCELERATORS, "nccl", "nccl"),
            (ACCELERATORS, "gloo", "gloo"),
            (DeviceInUse("xpu", 4), "nccl", "xccl"),
            (DeviceInUse("cpu", 0), "mpi", "mpi"),
        ):
            with mock.patch.object(sharded_tensors, "device_in_use", return_value=device):
                self.assertEqual(used, sharded_tensors._backend_here(asked))

    def test_number_of_ranks_that_a_file_assigns(self):
        self.assertEqual(4, ShardedTensorTestBase().world_size)
        with mock.patch("torch_testing_shim.distributed._shard.sharded_tensor.TEST_GPU_NUM", 2):
            self.assertEqual(2, ShardedTensorTestBase().world_size)

    def test_placements(self):
        with on(DeviceInUse("cpu", 0)):
            self.assertEqual(["rank:0/cpu", "rank:1/cpu"], rank_placements(2))
        with on(ACCELERATORS):
            self.assertEqual(["rank:0/cuda:0", "rank:1/cuda:1"], rank_placements(2))
            self.assertEqual("rank:3/cuda:3", st_common.PLACEMENTS[3])

    def test_chunk_specs(self):
        orders = [
            [placement.rank() for placement in spec.placements] for spec in generate_chunk_sharding_specs_for_test(1)
        ]
        self.assertEqual([[0, 1, 2, 3], [2, 3, 0, 1], [3, 0, 1, 2]], orders)
        self.assertEqual({1}, {spec.dim for spec in generate_chunk_sharding_specs_for_test(1)})

    def test_specs_in_orders_of_their_own(self):
        specs = _chunk_sharding_specs_list_for_test([0, 1, 0], seed=7)
        self.assertEqual([0, 1, 0], [spec.dim for spec in specs])
        orders = [tuple(placement.rank() for placement in spec.placements) for spec in specs]
        self.assertEqual({(0, 1, 2, 3)}, {tuple(sorted(order)) for order in orders})
        self.assertGreater(len(set(orders)), 1)
        self.assertEqual(specs, _chunk_sharding_specs_list_for_test([0, 1, 0], seed=7))


if __name__ == "__main__":
    run_tests()
