"""`common_fsdp`: each of its names used as upstream documents it, on real ranks."""

import functools
import unittest
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed.fsdp import (
    CPUOffload,
    FSDPModule,
    FullyShardedDataParallel as FSDP,
    MixedPrecision,
    ShardingStrategy,
    fully_shard,
)
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup, RegisterPostBackwardFunction
from torch.distributed.fsdp.wrap import enable_wrap
from torch.distributed.tensor import DTensor, init_device_mesh
from torch.nn.parallel import DistributedDataParallel as DDP

from torch_testing_shim import common_fsdp
from torch_testing_shim._cases import fsdp, fsdp_compiled
from torch_testing_shim._skips import by_ranks
from torch_testing_shim.common_fsdp import (
    MLP,
    AlwaysWrapNestedWrappedModule,
    CUDAInitMode,
    DEVICEInitMode,
    DummyDDP,
    FSDPInitMode,
    FSDPTest,
    FSDPTestContinuous,
    FSDPTestMultiThread,
    MixtureOfExperts,
    MLPStack,
    NestedWrappedModule,
    NestedWrappedModuleWithDelay,
    NonUniformReqGradNWM,
    SkipModel,
    TransformerWithSharedParams,
    _assert_module_states,
    _broadcast_state_dict,
    _get_state_dict,
    _maybe_cuda,
    _maybe_wrap_fsdp,
    _zero_model,
    check_sharded_parity,
    get_devtype,
    get_full_params,
    patch_all_gather,
    patch_all_reduce,
    patch_post_backward,
    patch_reduce_scatter,
    patch_register_post_backward_hook_backward,
    patch_reshard,
    patch_unshard,
    reduce_scatter_with_assert,
    test_compiled_fsdp,
)
from torch_testing_shim.common_utils import TestCase, run_tests

#: Names in `torch.distributed` of the collectives on one tensor that FSDP calls; renamed in torch 2.13.
ALL_GATHER = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
REDUCE_SCATTER = "reduce_scatter_single" if hasattr(dist, "reduce_scatter_single") else "reduce_scatter_tensor"
#: `fully_shard` works on the CPU, as it does from torch 2.7 on at the latest.
needs_fully_shard = unittest.skipUnless(hasattr(torch.cpu.Stream, "record_event"), "this torch cannot on the CPU")

BEFORE, AFTER, NEVER = DEVICEInitMode.DEVICE_BEFORE, DEVICEInitMode.DEVICE_AFTER, DEVICEInitMode.DEVICE_NEVER
PLAIN, WRAPPED = FSDPInitMode.NO_FSDP, FSDPInitMode.RECURSIVE


def shapes(module):
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def fsdp_units(module):
    """Names of the modules that FSDP has wrapped, without what FSDP puts into names."""
    units = [name for name, each in module.named_modules() if isinstance(each, FSDP)]
    return [name.replace("_fsdp_wrapped_module", "").replace("..", ".").strip(".") for name in units]


def linear_shapes(**layers):
    """Parameters of linear layers, by name: (inputs, outputs)."""
    found = {}
    for name, (inputs, outputs) in layers.items():
        name = name.replace("_", ".")
        found |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return found


NESTED = linear_shapes(module_0=(8, 4), module_1_0=(4, 16), module_1_1=(16, 16), module_2=(16, 4), module_3=(4, 8))
EXPERTS = linear_shapes(module_0=(8, 12), module_1=(12, 23), module_2=(23, 12), module_3=(12, 8))


class TwoRanks(FSDPTest):
    @property
    def world_size(self):
        return 2

    def on_device(self, module):
        return module.to(common_fsdp.DEVICE_TYPE)

    def made(self, model_class, mode, device_mode=BEFORE, fsdp_kwargs=None, **arguments):
        return model_class.init(self.process_group, mode, device_mode, fsdp_kwargs, deterministic=True, **arguments)

    def sharded_mlp(self):
        """A plain MLP and the same one sharded, and an input."""
        torch.manual_seed(5)
        plain = MLP(4, get_devtype())
        sharded = MLP(4, get_devtype())
        sharded.load_state_dict(plain.state_dict())
        fully_shard(sharded, mesh=init_device_mesh(common_fsdp.DEVICE_TYPE, (self.world_size,)))
        return plain, sharded, torch.rand(3, 4, device=get_devtype())

    def assert_called(self, patch, owner, name, on_step=True):
        """The patched function is called as FSDP trains, the original is back after that."""
        original = getattr(owner, name)
        calls = []

        @functools.wraps(original)
        def counting(*args, **kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        _, sharded, inputs = self.sharded_mlp()
        with patch(counting):
            self.assertIs(getattr(owner, name), counting)
            sharded(inputs).sum().backward()
        self.assertIs(getattr(owner, name), original)
        self.assertEqual(bool(calls), on_step)
        return calls


class Base(TwoRanks):
    def test_process_group(self):
        self.assertIs(self.process_group, dist.group.WORLD)
        self.assertEqual((self.rank, 2), (self.process_group.rank(), self.process_group.size()))
        self.assertEqual(f"file://{self.file_name}", self.init_method)
        self.assertFalse(self.destroy_pg_upon_exit)
        self.assertEqual(common_fsdp.DISTRIBUTED_BACKEND, dist.get_backend())
        self.assertEqual(get_devtype(), torch.device(common_fsdp.DEVICE_TYPE))

    def test_run_subtests(self):
        seen = []
        self.run_subtests({"a": [1, 2], "b": ["x"]}, lambda **chosen: seen.append(chosen))
        self.assertEqual([{"a": 1, "b": "x"}, {"a": 2, "b": "x"}], seen)

    def test_checks_of_what_fsdp_was_told(self):
        model = _maybe_wrap_fsdp(nn.Linear(2, 2), True, cpu_offload=CPUOffload(True), forward_prefetch=True)
        self._check_cpu_offload(model, CPUOffload(True))
        self._check_forward_prefetch(model, True)
        self._check_backward_prefetch(model, model.backward_prefetch)
        for check, wrong in (("cpu_offload", CPUOffload(False)), ("forward_prefetch", False), ("backward_prefetch", 7)):
            with self.assertRaises(AssertionError):
                getattr(self, f"_check_{check}")(model, wrong)


class KeptRanks(FSDPTestContinuous):
    """Two tests in the same ranks, the second of which sees what the first has left."""

    world_size = 2

    def test_1_parity(self):
        self.assertEqual((self.rank, 2), (self.process_group.rank(), self.process_group.size()))
        self._test_fsdp_parity(NestedWrappedModule, WRAPPED, BEFORE)
        type(self).seen = True

    def test_2_same_ranks(self):
        self.assertTrue(self.seen)


class Threads(FSDPTestMultiThread):
    def test_ranks_are_threads(self):
        self.assertEqual((self.rank, self.world_size), (dist.get_rank(), dist.get_world_size()))
        self.assertEqual(common_fsdp.DEVICE_COUNT, self.world_size)
        seen = []
        self.run_subtests({"value": [1, 2]}, lambda value: seen.append(value))
        self.assertEqual([1, 2], seen)

    def test_patches_are_shared(self):
        """All ranks see the replacement while one of them is inside, and the original after all have left."""
        original = dist.all_reduce
        replacement = mock.Mock()
        with patch_all_reduce(replacement):
            self.assertIs(dist.all_reduce, replacement)
        dist.barrier()
        self.assertIs(dist.all_reduce, original)

    def test_sharded_mlp(self):
        model = MLP(4)
        fully_shard(model, mesh=init_device_mesh("cpu", (self.world_size,)))
        self.assertEqual(16 // self.world_size, model.in_proj.weight.to_local().shape[0])


class FakeGroup(FSDPTest):
    fake_pg = True
    world_size = 2

    def test_ranks_do_not_meet(self):
        self.assertEqual("fake", dist.get_backend())
        self.assertEqual((self.rank, 2), (dist.get_rank(), dist.get_world_size()))


class Training(TwoRanks):
    def test_parity_of_each_model(self):
        self.run_subtests(
            {"model_class": [TransformerWithSharedParams, AlwaysWrapNestedWrappedModule], "device_init_mode": [AFTER]},
            self._test_fsdp_parity,
            fsdp_init_mode=WRAPPED,
            num_iters=1,
        )

    def test_parity_with_the_older_keyword(self):
        self.run_subtests(
            {
                "cuda_init_mode": [CUDAInitMode.CUDA_BEFORE, CUDAInitMode.CUDA_AFTER],
                "sharding_strategy": [None, ShardingStrategy.SHARD_GRAD_OP],
            },
            self._test_fsdp_parity,
            model_class=NestedWrappedModule,
            fsdp_init_mode=WRAPPED,
        )

    def test_parity_of_ways_to_train(self):
        nested = functools.partial(self._test_fsdp_parity, NestedWrappedModule, WRAPPED)
        nested(BEFORE, use_orig_params=True, forward_prefetch=True, num_iters=3)
        nested(BEFORE, enable_sharded_grad_scaler=True, sharded_grad_scaler_kwargs={"init_scale": 8.0})
        nested(BEFORE, mixed_precision=MixedPrecision(param_dtype=torch.bfloat16), save_model=False)
        nested(BEFORE, use_pure_fp16=True, save_model=False, num_iters=1)  # after that, float16 rounds apart
        nested(BEFORE, ref_init_fn=DDP)
        self._test_fsdp_parity(
            NestedWrappedModuleWithDelay, WRAPPED, AFTER, init_kwargs={"delay_after_loss_ms": 1}, num_iters=1
        )

    def test_offloading(self):
        """FSDP pins what it offloads, which takes an accelerator (torch 2.13): without one, its own error is seen."""
        offload = functools.partial(self._test_fsdp_parity, NestedWrappedModule, WRAPPED, cpu_offload=CPUOffload(True))
        if common_fsdp.DEVICE_TYPE != "cpu":
            offload(BEFORE)
            offload(AFTER)
        elif torch.accelerator.is_available():
            self.skipTest("the CPU was chosen where there is an accelerator that can pin")
        else:
            with self.assertRaisesRegex(
                RuntimeError, "Cannot access accelerator device|no NVIDIA driver|not an accelerator"
            ):
                offload(BEFORE)

    def test_parity_of_experts(self):
        """Experts differ between ranks; the reference reduces the gradients of the others by itself."""
        self._test_fsdp_parity(
            MixtureOfExperts,
            WRAPPED,
            BEFORE,
            ref_init_fn=DummyDDP,
            init_kwargs={"delay_before_free_ms": 1},
            num_iters=1,
        )

    def test_a_difference_is_found(self):
        def doubled(model):
            for parameter in model.parameters():
                parameter.data.mul_(2)
            return DDP(model)

        with self.assertRaisesRegex(AssertionError, "not close"):
            self._test_fsdp_parity(NestedWrappedModule, WRAPPED, BEFORE, ref_init_fn=doubled)

    def test_wrong_use(self):
        with self.assertRaisesRegex(AssertionError, "init mode that wraps"):
            self._test_fsdp_parity(NestedWrappedModule, PLAIN, BEFORE)
        with self.assertRaisesRegex(ValueError, "Initializing .*NestedWrappedModule.* raised error"):
            self._test_fsdp_parity(NestedWrappedModule, WRAPPED, BEFORE, no_such_argument=1)

    def test_training_lowers_the_loss_and_reloads(self):
        model = DDP(self.made(NestedWrappedModule, PLAIN))
        first = self._train_for_several_steps(model, 1, autocast=False, lr=0.05)
        self.assertLess(self._train_for_several_steps(model, 4, False, lr=0.05), first)
        self.assertFalse(first.requires_grad)
        with mock.patch.object(FSDP, "load_state_dict"):  # so the model stays cleared: the reload is really done
            cleared = _maybe_wrap_fsdp(self.made(NestedWrappedModule, PLAIN), True)
            self._train_for_several_steps(cleared, 1, False, save_model=True)
        self.assertEqual(0, sum(parameter.abs().sum().item() for parameter in get_full_params(cleared)))


class Models(TwoRanks):
    def test_transformer(self):
        model = self.made(TransformerWithSharedParams, PLAIN)
        self.assertIs(model.output_proj.weight, model.embed_tokens.weight)
        names = shapes(model)
        self.assertEqual((23, 16), names["embed_tokens.weight"])
        self.assertEqual((8, 16), names["transformer.decoder.layers.1.linear1.weight"])
        self.assertEqual((2,), names["bn.weight"])
        self.assertEqual(["vocab_bias", "long_buffer"], [name for name, _ in model.named_buffers()][:2])
        source, target = model.get_input(get_devtype())
        self.assertEqual(((6, 2), (4, 2)), (tuple(source.shape), tuple(target.shape)))
        output = model(source, target)
        self.assertEqual((4, 2, 23), tuple(output.shape))
        likelihood = output.log_softmax(-1).gather(-1, target[..., None]).sum()
        self.assertEqual(model.get_loss((source, target), output), -likelihood)
        self.assertEqual([model.transformer], model.get_ignored_modules())
        self.assertFalse(model.training)
        _assert_module_states(model, self.process_group, self.assertEqual)

    def test_nested(self):
        model = self.made(NestedWrappedModule, PLAIN)
        self.assertEqual(NESTED, shapes(model))
        (inputs,) = model.get_input(get_devtype())
        self.assertEqual((4, 8), tuple(inputs.shape))
        self.assertEqual(model.get_loss((inputs,), model(inputs)), model.module(inputs).sum())
        model.run_backward(model.get_loss((inputs,), model(inputs)))
        self.assertTrue(all(parameter.grad is not None for parameter in model.parameters()))
        nested = ["module.1", "module.1.0", "module.2"]
        self.assertEqual(nested, fsdp_units(self.made(NestedWrappedModule, WRAPPED)))
        every = self.made(AlwaysWrapNestedWrappedModule, WRAPPED)
        self.assertEqual(
            ["", "module", *(f"module.{name}" for name in ("0", "1", "1.0", "1.1", "2", "3"))], fsdp_units(every)
        )
        self.assertEqual(NESTED, shapes(self.made(AlwaysWrapNestedWrappedModule, PLAIN)))

    def test_ranks_draw_inputs_of_their_own(self):
        drawn = [None, None]
        dist.all_gather_object(drawn, self.made(NestedWrappedModule, PLAIN).get_input("cpu")[0].sum().item())
        self.assertNotEqual(drawn[0], drawn[1])

    def test_only_the_last_layer_is_trained(self):
        model = self.made(NonUniformReqGradNWM, PLAIN)
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.assertEqual(["module.2.1.weight", "module.2.1.bias"], trained)
        wrapped = self.made(NonUniformReqGradNWM, WRAPPED, AFTER, {"use_orig_params": True})
        self.assertEqual(2, sum(parameter.requires_grad for parameter in wrapped.parameters()))
        self.assertEqual(["module.1", "module.1.0", "module.2"], fsdp_units(wrapped))

    def test_experts(self):
        model = self.made(MixtureOfExperts, PLAIN)
        self.assertEqual(EXPERTS, shapes(model))
        self.assertEqual(23 * 12 + 12, model.num_expert_params)
        of_expert = [name for name, parameter in model.named_parameters() if hasattr(parameter, "expert")]
        self.assertEqual(["module.2.weight", "module.2.bias"], of_expert)
        self.assertEqual(["module.1", "module.2"], fsdp_units(self.made(MixtureOfExperts, WRAPPED)))
        with self.assertRaises(AssertionError):  # experts differ
            _assert_module_states(model.module[2], self.process_group, self.assertEqual)
        _assert_module_states(model.module[1], self.process_group, self.assertEqual)
        (inputs,) = model.get_input(get_devtype())
        model.run_backward(model.get_loss(inputs, model(inputs)))
        gradients = [None, None]
        dist.all_gather_object(gradients, [model.module[1].weight.grad, model.module[2].weight.grad])
        self.assertEqual(gradients[0][0], gradients[1][0])
        self.assertNotEqual(gradients[0][1], gradients[1][1])

    def test_skip_model(self):
        with enable_wrap(wrapper_cls=FSDP, process_group=self.process_group):
            model, deep = SkipModel(double_nest=False), SkipModel(double_nest=True)
        self.assertEqual(
            (["nested_linear"], ["nested_linear", "nested_linear.nested_linear"]), (fsdp_units(model), fsdp_units(deep))
        )
        self.assertEqual((10, 10), shapes(model)["linear_skip.lin.weight"])
        inputs = torch.rand(2, 10, device=get_devtype())
        with FSDP.summon_full_params(model.nested_linear):
            last = model.nested_linear.module.nested_linear.weight.detach().clone()
        by_hand = inputs @ model.linear.weight.T @ model.linear_skip.lin.weight.T @ last.T
        self.assertEqual(model(inputs), by_hand)

    @needs_fully_shard
    def test_stack_in_parallel(self):
        """Tensor parallelism over two ranks, and FSDP over a mesh of one, give what the plain stack gives."""
        for with_sequence in (False, True):
            torch.manual_seed(1)
            plain = self.on_device(MLPStack(6, with_seq_parallel=with_sequence))
            stack = self.on_device(MLPStack(6, with_seq_parallel=with_sequence))
            stack.load_state_dict(plain.state_dict())
            mesh = init_device_mesh(common_fsdp.DEVICE_TYPE, (1, 2), mesh_dim_names=("dp", "tp"))
            result = stack.parallelize(mesh["tp"], mesh["dp"], True, reshard_after_forward=False)
            self.assertIs(result, stack)
            self.assertTrue(all(isinstance(module, FSDPModule) for module in (stack, stack[0], stack[2])))
            self.assertEqual((9, 6), tuple(stack[0].in_proj.weight.to_local().shape))  # 18 by 6, over two ranks
            inputs = torch.rand(2, 4, 6, device=get_devtype())
            actual, expected = stack(inputs), plain(inputs)
            actual = actual.full_tensor() if isinstance(actual, DTensor) else actual
            self.assertEqual(actual, expected)


class States(TwoRanks):
    def test_states_are_compared_with_rank_0(self):
        model = nn.BatchNorm1d(2)
        pairs = []
        _assert_module_states(model, self.process_group, lambda *pair: pairs.append(pair))
        self.assertEqual(5, len(pairs))
        model.running_mean.fill_(self.rank)
        with self.assertRaises(AssertionError):
            _assert_module_states(model, self.process_group, self.assertEqual)

    def test_full_params_and_zero(self):
        plain = self.made(NestedWrappedModule, PLAIN)
        model = self.made(AlwaysWrapNestedWrappedModule, WRAPPED)
        self.assertEqual(list(plain.parameters()), get_full_params(model))
        self.assertNotEqual(8, len(get_full_params(model, recurse=False)))
        _zero_model(model)
        self.assertEqual([0.0] * 10, [parameter.abs().sum().item() for parameter in get_full_params(model)])
        norm = nn.BatchNorm1d(2)
        _zero_model(norm, summon_full=False)
        self.assertEqual((0, 2), (norm.weight.sum().item(), norm.running_var.sum().item()))
        _zero_model(norm, zero_buffers=True, summon_full=False)
        self.assertEqual(0, norm.running_var.sum().item())

    def test_state_dicts(self):
        model = self.made(NestedWrappedModule, PLAIN, NEVER)
        self.assertEqual(model.state_dict(), _get_state_dict(model))
        self.assertEqual({torch.float16}, {each.dtype for each in _get_state_dict(model, True, half=True).values()})
        sent = _broadcast_state_dict(self.rank, {"a": torch.full((2,), float(self.rank))})
        self.assertEqual({"a": torch.zeros(2, device=get_devtype())}, sent)

    def test_wrapping_if_wanted(self):
        layer = nn.Linear(2, 2)
        self.assertIs(layer, _maybe_wrap_fsdp(layer, False))
        self.assertIs(self.process_group, _maybe_wrap_fsdp(layer, True, self.process_group).process_group)
        self.assertEqual(get_devtype().type, _maybe_cuda(nn.Linear(2, 2), True).weight.device.type)

    @needs_fully_shard
    def test_sharded_parity(self):
        plain, sharded, inputs = self.sharded_mlp()
        check_sharded_parity(self, plain, sharded)
        plain(inputs).sum().backward()
        with self.assertRaises(AssertionError):
            check_sharded_parity(self, plain, sharded)
        sharded(inputs).sum().backward()
        check_sharded_parity(self, plain, sharded)
        with torch.no_grad():
            plain.out_proj.bias += 1
        with self.assertRaises(AssertionError):
            check_sharded_parity(self, plain, sharded)
        with self.assertRaises(AssertionError):
            check_sharded_parity(self, plain, plain)
        with self.assertRaises(ValueError):
            check_sharded_parity(self, plain, nn.Identity())

    def test_names_of_sharded_parity(self):
        plain, sharded, _ = self.sharded_mlp()
        inside = nn.ModuleDict({"inner": sharded})
        with self.assertRaisesRegex(AssertionError, "inner.in_proj.weight"):
            check_sharded_parity(self, plain, inside)
        check_sharded_parity(self, plain, inside, prefixes_to_ignore=("inner.",))


class Patches(TwoRanks):
    @needs_fully_shard
    def test_collectives(self):
        gathered = self.assert_called(patch_all_gather, dist, ALL_GATHER)
        self.assertTrue(all(isinstance(call[0], torch.Tensor) for call in gathered if call))
        self.assert_called(patch_reduce_scatter, dist, REDUCE_SCATTER)
        self.assert_called(patch_all_reduce, dist, "all_reduce", on_step=False)

    @needs_fully_shard
    def test_groups_of_parameters(self):
        module = torch.distributed.fsdp._fully_shard._fsdp_param_group
        for name in ("foreach_all_gather", "foreach_reduce"):
            if hasattr(common_fsdp, f"patch_{name}"):  # torch 2.6 has none
                self.assert_called(getattr(common_fsdp, f"patch_{name}"), module, name)
        self.assert_called(patch_unshard, FSDPParamGroup, "unshard")
        self.assert_called(patch_reshard, FSDPParamGroup, "reshard")
        self.assert_called(patch_post_backward, FSDPParamGroup, "post_backward")

    def test_post_backward_hook(self):
        original = RegisterPostBackwardFunction.backward
        with patch_register_post_backward_hook_backward(lambda ctx, *gradients: original(ctx, *gradients)):
            self.assertIsNot(RegisterPostBackwardFunction.backward, original)
        self.assertIs(RegisterPostBackwardFunction.backward, original)

    def test_original_is_back_after_an_exception_of_one_rank(self):
        original = dist.all_reduce
        for rank in range(2):
            try:
                with patch_all_reduce(mock.Mock()):
                    if rank == self.rank:
                        raise KeyError
                    raise LookupError
            except LookupError:
                self.assertIs(dist.all_reduce, original)

    def test_reduce_scatter_with_assert(self):
        seen = []
        reduced = functools.partial(
            reduce_scatter_with_assert, self, getattr(dist, REDUCE_SCATTER), lambda output: seen.append(output.dtype)
        )
        output, inputs = torch.zeros(1), torch.ones(2)
        reduced(output, inputs)
        self.assertEqual((2.0, [torch.float32]), (output.item(), seen))
        reduced(output=output.zero_(), input=inputs)
        self.assertEqual((2.0, 2), (output.item(), len(seen)))
        with self.assertRaisesRegex(AssertionError, "Cannot get reduce-scatter output"):
            reduced(input=inputs)

    def test_compiled(self):
        """Run once as it is, and once with `fully_shard` compiling, where there is triton; triton and
        the compiler are simulated."""
        shards = []

        @test_compiled_fsdp(compile_compute_on_module=MLP)
        def test(case, width):
            for module in (MLP(width), nn.Linear(width, width)):
                fully_shard(module)
                shards.append((type(module), isinstance(module, FSDPModule)))

        with_triton = mock.patch.object(fsdp_compiled, "_has_triton", return_value=True)
        with with_triton, mock.patch.object(nn.Module, "compile", autospec=True) as compile_module:
            test(self, width=4)
        self.assertEqual(1, compile_module.call_count)
        self.assertIsInstance(compile_module.call_args.args[0], MLP)
        self.assertEqual(4, len(shards))
        self.assertTrue(all(is_sharded for _, is_sharded in shards))
        self.assertIs(torch.distributed.fsdp.fully_shard, fully_shard)
        without = mock.patch.object(fsdp_compiled, "_has_triton", return_value=False)
        with without, self.assertWarnsRegex(UserWarning, "no triton"):
            test(self, width=4)
        self.assertEqual(6, len(shards))


class Alone(TestCase):
    """What needs no ranks."""

    def test_world_size_is_the_machines(self):
        self.assertEqual(common_fsdp.DEVICE_COUNT, FSDPTest().world_size)

    def test_more_ranks_than_accelerators_is_a_skip(self):
        from torch_testing_shim._engine.devices import DeviceInUse

        one = mock.patch.object(by_ranks, "device_in_use", return_value=DeviceInUse("cuda", 1))
        with one, mock.patch.object(common_fsdp, "DEVICE_TYPE", "cuda"):
            case = Base("test_process_group")
            with self.assertRaisesRegex(unittest.SkipTest, "needs at least 2 accelerators, found 1"):
                case.setUp()
            case.doCleanups()

    def test_a_device_that_is_not_in_use_and_a_backend_of_accelerators_are_skips(self):
        for name, value, reason in (
            ("DEVICE_TYPE", "xpu", "needs at least 2 xpu, found 0"),
            ("DISTRIBUTED_BACKEND", "nccl", "needs at least 2 (accelerators|cuda), found 0"),
        ):
            cpu = mock.patch.dict("os.environ", TORCH_TESTING_SHIM_DEVICE="cpu")
            with cpu, mock.patch.object(common_fsdp, name, value):
                self.assertRegex(str(fsdp.reason_not_to_run(2)), f"^{reason}$")

    def test_older_spellings(self):
        self.assertIs(CUDAInitMode, DEVICEInitMode)
        self.assertEqual(
            [BEFORE, AFTER, NEVER], [CUDAInitMode[f"CUDA_{word}"] for word in ("BEFORE", "AFTER", "NEVER")]
        )
        self.assertEqual(3, len(DEVICEInitMode))
        self.assertFalse(test_compiled_fsdp.__test__)


if __name__ == "__main__":
    run_tests()
