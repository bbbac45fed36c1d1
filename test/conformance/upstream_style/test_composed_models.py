"""Models of the harness on threads: composable ones, stacks and transformers, sharded, replicated and checkpointed."""

import copy
import functools

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed._composable import checkpoint, replicate
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.common_dist_composable import (
    CompositeModel,
    CompositeParamModel,
    FakeSequential,
    NestedSequentialModel,
    UnitModule,
    UnitParamModule,
)
from torch.testing._internal.common_distributed import SaveForwardInputsModel, skip_if_lt_x_gpu
from torch.testing._internal.common_fsdp import (
    DoubleLinear,
    FSDPTestMultiThread,
    MLPStack,
    check_sharded_parity,
    get_devtype,
    patch_all_reduce,
    patch_post_backward,
    patch_reduce_scatter,
    patch_register_post_backward_hook_backward,
    patch_reshard,
    patch_unshard,
    reduce_scatter_with_assert,
)
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests, xfailIf
from torch.testing._internal.distributed._tensor.common_dtensor import (
    MLPModule,
    MLPStacked,
    ModelArgs,
    RMSNormPython,
    Transformer,
    TransformerBlock,
)
from torch.testing._internal.subclasses import WrapperSubclass
from torch.testing._internal.two_tensor import TwoTensor

CPU = torch.device("cpu")


def same_on_all_ranks(model):
    """The threads share one generator, so that each draws other numbers."""
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(0.1 + number / 100)
    return model


class ShardedModelsTest(FSDPTestMultiThread):
    @property
    def world_size(self):
        return 2

    def perThreadSetUp(self):
        super().perThreadSetUp()
        torch.manual_seed(7)

    def test_setup_of_threads(self):
        self.assertEqual(dist.get_world_size(), 2)
        self.assertEqual(get_devtype().type, "cpu")

    def test_composite(self):
        model = CompositeParamModel(CPU)
        for part in (model.u1, model.u2):
            self.assertIsInstance(part, UnitModule)
            fully_shard(part)
        fully_shard(model)
        self.assertTrue(all(isinstance(parameter, DTensor) for parameter in model.parameters()))
        model(torch.ones(2, 100)).sum().backward()
        self.assertTrue(all(isinstance(parameter.grad, DTensor) for parameter in model.parameters()))

    def test_units(self):
        unit, nested = UnitParamModule(CPU), NestedSequentialModel(CPU)
        self.assertEqual(unit(torch.ones(1, 100)).shape, (1, 100))
        inner = [module for module in nested.modules() if isinstance(module, FakeSequential)]
        self.assertEqual(len(inner), 2)

    def test_same_as_alone(self):
        plain = same_on_all_ranks(MLPStack(4))
        sharded = copy.deepcopy(plain)
        for layer in sharded:
            fully_shard(layer)
        fully_shard(sharded)
        x = torch.full((2, 4), 0.5)
        self.assertEqual(sharded(x), plain(x))
        plain(x).sum().backward()
        sharded(x).sum().backward()
        check_sharded_parity(self, plain, sharded)

    def test_is_not_the_same(self):
        plain = same_on_all_ranks(MLPStack(4))
        sharded = copy.deepcopy(plain)
        fully_shard(sharded)
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.add_(1)
        check_sharded_parity(self, plain, sharded)

    def test_double_linear(self):
        model = DoubleLinear(4, use_second_linear=False)
        fully_shard(model)
        self.assertEqual(model(torch.ones(1, 4)).shape, (1, 4))

    @skip_if_lt_x_gpu(2)
    def test_needs_accelerators(self):
        self.fail("there is none")

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_needs_none(self):
        self.run_subtests({"reshard": [True, False]}, self._check_reshard)

    def _check_reshard(self, reshard):
        model = DoubleLinear(4)
        fully_shard(model, reshard_after_forward=reshard)
        model(torch.ones(1, 4))
        self.assertEqual(isinstance(model.lin1.weight, DTensor), reshard)

    def test_subtests_that_fail(self):
        self.run_subtests({"number": [1, 2]}, lambda number: self.assertEqual(number, 1))

    def test_transformer(self):
        args = ModelArgs(n_layers=2, dropout_p=0.0)
        model = same_on_all_ranks(Transformer(args))
        plain = copy.deepcopy(model)
        for module in model.modules():
            if isinstance(module, TransformerBlock):
                fully_shard(module)
        fully_shard(model)
        tokens = torch.arange(8).reshape(2, 4) % args.vocab_size
        self.assertEqual(model(tokens), plain(tokens))

    def test_counted_calls(self):
        calls = []
        lock = dist.distributed_c10d._get_default_group()

        def counting(name, original, *args, **kwargs):
            calls.append(name)
            return original(*args, **kwargs)

        self.assertIsNotNone(lock)
        model = MLPStack(4)
        fully_shard(model)
        with patch_all_reduce(functools.partial(counting, "all_reduce", dist.all_reduce)):
            model(torch.ones(1, 4)).sum().backward()
        self.assertEqual(calls, [])

    def test_patches_are_there(self):
        patches = (patch_unshard, patch_reshard, patch_post_backward, patch_register_post_backward_hook_backward)
        self.assertTrue(all(callable(patch) for patch in (*patches, patch_reduce_scatter, reduce_scatter_with_assert)))

    def test_cast_inputs(self):
        seen = {}
        model = SaveForwardInputsModel(seen, cast_forward_inputs=False)
        fully_shard(model, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
        model(torch.ones(1, 100))
        self.assertEqual({x.dtype for x in seen.values()}, {torch.bfloat16})

    def test_subclass_parameters(self):
        model = nn.Linear(4, 4, bias=False)
        model.weight = nn.Parameter(TwoTensor(model.weight.detach(), model.weight.detach().clone()))
        self.assertEqual((model.weight + 1).a, (model.weight + 1).b)
        wrapped = WrapperSubclass(torch.ones(2))
        self.assertEqual((wrapped * 2).a, torch.full((2,), 2.0))


class MeshesOfThreadsTest(FSDPTestMultiThread):
    world_size = 4

    def test_two_dimensions(self):
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        model = MLPModule("cpu")
        plan = {"net1": ColwiseParallel(), "net2": RowwiseParallel()}
        parallelize_module(model, mesh["tp"], plan)
        fully_shard(model, mesh=mesh["dp"])
        self.assertEqual(model.net1.weight.placements[1], Shard(0))
        model(torch.ones(4, 10)).sum().backward()

    @parametrize("layers", [1, 2])
    def test_stacked(self, layers):
        model = MLPStacked("cpu", n_layers=layers)
        self.assertEqual(model(torch.ones(1, 10)).shape, (1, 10))

    @parametrize("dim", [4, 8])
    def test_norm(self, dim):
        norm = RMSNormPython(dim)
        x = torch.arange(1.0, dim + 1)
        self.assertEqual(norm(x), nn.functional.rms_norm(x, (dim,), eps=1e-6), atol=1e-4, rtol=1e-4)

    def test_replicated_and_checkpointed(self):
        model = CompositeModel(CPU)
        checkpoint(model.u1)
        replicate(model)
        model(torch.ones(1, 100)).sum().backward()
        self.assertTrue(all(parameter.grad is not None for parameter in model.parameters()))

    @xfailIf(True)
    def test_expected_failure(self):
        mesh = init_device_mesh("cpu", (4,))
        self.assertEqual(distribute_tensor(torch.ones(4), mesh, [Shard(0)]).to_local(), torch.ones(4))


instantiate_parametrized_tests(MeshesOfThreadsTest)

if __name__ == "__main__":
    run_tests()
