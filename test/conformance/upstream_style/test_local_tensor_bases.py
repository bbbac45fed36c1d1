"""LocalDTensorTestBase and its relatives as base classes, where one process plays all ranks, and shard orders."""

import unittest

import torch
from torch.distributed._local_tensor import LocalTensor, LocalTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor._op_schema import OpSpec, OpStrategy
from torch.testing._internal.common_distributed import skip_if_lt_x_gpu
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import (
    DTensorConverter,
    DTensorOpTestBase,
    DTensorTestBase,
    LocalDTensorOpTestBase,
    LocalDTensorTestBase,
    create_local_tensor_test_class,
    generate_shard_orders,
    make_full_tensor,
    map_local_for_rank,
    op_strategy_context,
    patched_distribute_tensor,
    reduce_local_int,
    shard_order_to_placement,
    skip_unless_torch_gpu,
    validate_sharding_rule_sample,
    validate_sharding_rule_sample_backward,
    with_comms,
)


@torch.library.custom_op("upstream_style::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x):
    return torch.empty_like(x)


class OwnTest(LocalDTensorTestBase):
    @property
    def world_size(self):
        return 4

    @with_comms
    def test_shards(self):
        with LocalTensorMode(self.world_size):
            mesh = self.build_device_mesh()
            sharded = distribute_tensor(torch.arange(10.0), mesh, [Shard(0)])
            local = sharded.to_local()
            self.assertIsInstance(local, LocalTensor)
            self.assertEqual([part.numel() for part in local._local_tensors.values()], [3, 3, 3, 1])
            self.assertEqual(sharded.full_tensor(), torch.arange(10.0))

    @with_comms
    def test_ranks(self):
        with self._get_local_tensor_mode():
            self.build_device_mesh()
            self.assertEqual(reduce_local_int(self.rank, lambda values: sum(values.values())), 6)
            doubled = map_local_for_rank(self.rank, lambda rank: torch.tensor(2.0 * int(rank)))
            self.assertEqual(doubled._local_tensors[3].item(), 6)

    @with_comms
    def test_orders(self):
        with self._get_local_tensor_mode():
            mesh = init_device_mesh(self.device_type, (2, 2), mesh_dim_names=("a", "b"))
            whole = torch.arange(16.0).reshape(4, 4)
            for order in list(generate_shard_orders(mesh, 2))[:4]:
                sharded = patched_distribute_tensor(whole, mesh, None, order)
                self.assertEqual(tuple(sharded.placements), shard_order_to_placement(order, mesh))
                self.assertEqual(make_full_tensor(sharded), whole)

    @with_comms(eager_init=False)
    def test_partial(self):
        with self._get_local_tensor_mode():
            partial = DTensor.from_local(torch.ones(2), self.build_device_mesh(), [Partial()])
            self.assertEqual(partial.full_tensor(), torch.full((2,), 4.0))

    @with_comms
    def test_rules(self):
        with self._get_local_tensor_mode():
            mesh, given = self.build_device_mesh(), (torch.randn(4, 8), torch.randn(4, 8))
            for placement, right in ((Shard(0), True), (Replicate(), True)):
                placements = (placement, placement)
                found = validate_sharding_rule_sample(torch.add, given, {}, placements, (placement,), mesh)
                self.assertEqual(found, right)
            self.assertTrue(validate_sharding_rule_sample_backward(torch.mul, given, {}, (Shard(1), Shard(1)), mesh))

    @with_comms
    def test_own_strategy(self):
        def as_given(op_schema):
            return OpStrategy([OpSpec(each.output_spec) for each in op_schema.args_schema[0].strategies])

        with self._get_local_tensor_mode():
            sharded = distribute_tensor(torch.ones(4), self.build_device_mesh(), [Shard(0)])
            with op_strategy_context(torch.ops.upstream_style.twice.default, as_given):
                self.assertEqual(twice(sharded).full_tensor(), torch.full((4,), 2.0))
            with self.assertRaisesRegex(NotImplementedError, "sharding strategy"):
                twice(sharded)

    @with_comms
    def test_wrong(self):
        with self._get_local_tensor_mode():
            sharded = distribute_tensor(torch.ones(4), self.build_device_mesh(), [Shard(0)])
            self.assertEqual(sharded.full_tensor(), torch.zeros(4))

    @skip_if_lt_x_gpu(4)
    @with_comms
    def test_on_accelerators(self):
        self.fail("there is none")

    @skip_unless_torch_gpu
    @with_comms
    def test_on_gpu(self):
        self.fail("there is none")

    @with_comms
    def test_skips(self):
        self.skipTest("from within")

    @unittest.expectedFailure
    @with_comms
    def test_expected_failure(self):
        self.assertEqual(self.world_size, 2)


class MeshTest(DTensorTestBase):
    @property
    def world_size(self):
        return 4

    @with_comms
    @parametrize("shape", [(2, 2), (4, 1)])
    def test_meshes(self, shape):
        mesh = init_device_mesh(self.device_type, shape)
        replicated = distribute_tensor(torch.arange(8.0), mesh, [Shard(0), Replicate()])
        self.assertEqual(replicated.full_tensor(), torch.arange(8.0))

    @with_comms
    def test_draws(self):
        self.init_manual_seed_for_rank()
        zeros = torch.distributed.tensor.zeros(4, device_mesh=self.build_device_mesh(), placements=[Shard(0)])
        self.assertEqual(zeros.full_tensor(), torch.zeros(4))

    @with_comms
    @skip_if_lt_x_gpu(2)
    def test_on_two(self):
        self.fail("there is none")

    def test_without_comms(self):
        self.assertFalse(torch.distributed.is_initialized())


class ThreadsTest(DTensorOpTestBase):
    @property
    def world_size(self):
        return 2

    @with_comms
    def test_conversions(self):
        mesh = self.build_device_mesh()
        converter = DTensorConverter(mesh, (torch.ones(2, 2), 3), {"other": torch.ones(2)})
        self.assertEqual(len(list(converter)), 3 * 2)
        self.assertTrue(converter.successful())


class NamedTest(DTensorTestBase):
    """Whose tests one form leaves out."""

    world_size = 2

    @with_comms
    def test_left_out(self):
        self.assertIsInstance(self.rank, int)

    @with_comms
    def test_is_enabled(self):
        self.assertEqual(self.is_local_tensor_enabled, "WithLocalTensor" in type(self).__name__)


instantiate_parametrized_tests(MeshTest)
MeshTestWithLocalTensor = create_local_tensor_test_class(MeshTest)
NamedTestWithLocalTensor = create_local_tensor_test_class(NamedTest, skipped_tests=["test_left_out"])
ThreadsTestWithLocalTensor = create_local_tensor_test_class(ThreadsTest, base_class=LocalDTensorOpTestBase)

if __name__ == "__main__":
    run_tests()
