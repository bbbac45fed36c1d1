"""`common_fsdp`: what of it is ours, on real ranks. Its models and helpers are torch's (see `upstream_style`)."""

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
from torch.distributed.tensor import init_device_mesh
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
    NestedWrappedModule,
    NestedWrappedModuleWithDelay,
    TransformerWithSharedParams,
    _maybe_wrap_fsdp,
    get_devtype,
    get_full_params,
    patch_all_reduce,
    test_compiled_fsdp,
)
from torch_testing_shim.common_utils import TestCase, run_tests

BEFORE, AFTER, NEVER = DEVICEInitMode.DEVICE_BEFORE, DEVICEInitMode.DEVICE_AFTER, DEVICEInitMode.DEVICE_NEVER
PLAIN, WRAPPED = FSDPInitMode.NO_FSDP, FSDPInitMode.RECURSIVE


class TwoRanks(FSDPTest):
    @property
    def world_size(self):
        return 2

    def made(self, model_class, mode, device_mode=BEFORE, fsdp_kwargs=None, **arguments):
        return model_class.init(self.process_group, mode, device_mode, fsdp_kwargs, deterministic=True, **arguments)


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


class Patches(TwoRanks):
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
    """Names that need no ranks."""

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
