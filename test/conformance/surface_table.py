"""Names that PyTorch's own distributed tests import, with torch 2.13's signatures.

The table holds what the tests of PyTorch 2.4's test/distributed import of `torch.testing._internal`: module -> name ->
the parameters of a function, or of a class's constructor, in torch 2.13. None stands for what has no signature of its
own: a value, a class with another library's constructor, and a name that torch 2.13 does not have any more.

`python test/conformance/compare_surface.py` holds the table against the torch that is installed.
"""

from __future__ import annotations

import inspect

SURFACE: dict[str, dict[str, str | None]] = {
    "common_utils": {
        "ADDRESS_IN_USE": None,
        "CONNECT_TIMEOUT": None,
        "FILE_SCHEMA": None,
        "IS_CI": None,
        "IS_MACOS": None,
        "IS_SANDCASTLE": None,
        "IS_WINDOWS": None,
        "NO_MULTIPROCESSING_SPAWN": None,
        "NoTest": None,
        "TEST_CUDA": None,
        "TEST_WITH_ASAN": None,
        "TEST_WITH_DEV_DBG_ASAN": None,
        "TEST_WITH_ROCM": None,
        "TEST_WITH_TSAN": None,
        "TestCase": "(self, method_name='runTest', methodName='runTest')",
        "_assertGradAndGradgradChecks": "(test_case, apply_fn, inputs, **kwargs)",
        "dtype2prec_DONTUSE": None,
        "find_free_port": "()",
        "get_cycles_per_ms": "(device='cuda')",
        "gradcheck": "(fn, inputs, **kwargs)",
        "instantiate_parametrized_tests": "(generic_cls)",
        "load_tests": "(loader, tests, pattern)",
        "parametrize": "(self, arg_str, arg_values, name_fn=None)",
        "requires_cuda": "(test_item)",
        "retry_on_connect_failures": "(func=None, connect_errors='Address already in use')",
        "run_tests": "(argv=None)",
        "skipIfRocm": '(func=None, *, msg="test doesn\'t currently work on the ROCm stack")',
        "skipIfTorchDynamo": '(msg="test doesn\'t currently work with dynamo")',
        "skip_but_pass_in_sandcastle": "(reason)",
        "skip_but_pass_in_sandcastle_if": "(condition, reason)",
        "skip_if_pytest": "(fn)",
        "subtest": "(self, arg_values, name=None, decorators=None)",
        "suppress_warnings": "(fn)",
        "wrapSwapTensorsTest": "(swap=None)",
    },
    "common_distributed": {
        "DynamoDistributedMultiProcTestCase": "(self, method_name='runTest', methodName='runTest')",
        "DynamoDistributedSingleProcTestCase": "(self, method_name='runTest', methodName='runTest')",
        "MultiProcContinousTest": None,
        "MultiProcessTestCase": "(self, method_name='runTest', methodName='runTest')",
        "MultiThreadedTestCase": "(self, method_name='runTest', methodName='runTest')",
        "SaveForwardInputsModel": "(self, forward_inputs, cast_forward_inputs)",
        "TEST_SKIPS": None,
        "_dynamo_dist_per_rank_init": "(rank, world_size, backend=None, init_pg=True, fake_pg=False)",
        "create_device": "(interface=None, lazy_init=False)",
        "create_tcp_store": (
            "(addr='localhost', world_size=1, is_master=True, timeout=datetime.timedelta(seconds=300), "
            "wait_for_workers=True, jit_class=False, use_libuv=True)"
        ),
        "get_timeout": "(test_id)",
        "import_transformers_or_skip": "()",
        "init_multigpu_helper": "(world_size, backend)",
        "require_n_gpus_for_nccl_backend": "(n, backend)",
        "requires_gloo": "()",
        "requires_nccl": "()",
        "requires_nccl_version": "(version, msg)",
        "requires_ucc": "()",
        "simple_sparse_reduce_tests": "(rank, world_size, num_inputs=1)",
        "skip_but_pass_in_sandcastle_if": "(condition, reason)",
        "skip_if_lt_x_gpu": "(x, *, allow_cpu=False)",
        "skip_if_rocm": None,
        "skip_if_win32": "()",
        "spawn_threads_and_init_comms": "(func=None, timeout=300, world_size=4)",
        "tp_transports": "()",
        "verify_ddp_error_logged": "(model_DDP, err_substr)",
        "with_dist_debug_levels": "(levels)",
        "with_nccl_blocking_wait": "(func)",
    },
    "common_fsdp": {
        "AlwaysWrapNestedWrappedModule": "(self, group, wrap_fsdp, device_init_mode, deterministic, **fsdp_kwargs)",
        "CUDAInitMode": None,
        "DoubleLinear": "(self, dim, use_second_linear=True)",
        "DummyDDP": "(self, module)",
        "DummyProcessGroup": "(self, rank, size)",
        "FSDPInitMode": None,
        "FSDPTest": "(self, method_name='runTest', methodName='runTest')",
        "FSDPTestMultiThread": "(self, method_name='runTest', methodName='runTest')",
        "MLP": "(self, dim, device=None, *, bias=True, with_buffer=False, dim_multiplier=4)",
        "MLPStack": "(self, mlp_dim, *, with_seq_parallel=False)",
        "MixtureOfExperts": (
            "(self, group, wrap_fsdp, device_init_mode, delay_before_free_ms, deterministic, **fsdp_kwargs)"
        ),
        "NestedWrappedModule": "(self, group, wrap_fsdp, device_init_mode, deterministic, **fsdp_kwargs)",
        "NestedWrappedModuleWithDelay": "(self, module, delay_after_loss_ms, delay_before_reduction_ms)",
        "NonUniformReqGradNWM": "(self, group, wrap_fsdp, device_init_mode, deterministic, **fsdp_kwargs)",
        "SkipModel": "(self, double_nest)",
        "TransformerWithSharedParams": "(self, group, device_init_mode, add_bn, deterministic)",
        "_assert_module_states": "(model, process_group, assert_fn)",
        "_broadcast_state_dict": "(rank, state_dict)",
        "_get_state_dict": "(model, cpu_offload=False, half=False)",
        "_maybe_cuda": None,
        "_maybe_wrap_fsdp": "(model, wrap_fsdp, *args, **kwargs)",
        "_zero_model": "(model, zero_buffers=False, summon_full=True)",
        "check_sharded_parity": "(cls, replicated_module, sharded_module, prefixes_to_ignore=())",
        "get_full_params": "(model, recurse=True)",
        "patch_all_gather": "(new_all_gather_into_tensor)",
        "patch_post_backward": "(new_post_backward)",
        "patch_reduce_scatter": "(new_reduce_scatter_tensor)",
        "patch_register_post_backward_hook_backward": "(new_backward)",
        "patch_unshard": "(new_unshard)",
        "reduce_scatter_with_assert": "(cls, orig_reduce_scatter, assert_fn, *args, **kwargs)",
        "subtest_name": "(test_name_mapping, *args)",
        "test_compiled_fsdp": None,
    },
    "distributed._tensor.common_dtensor": {
        "DTensorConverter": "(self, mesh, args, kwargs, replicate_only=False)",
        "DTensorOpTestBase": "(self, method_name='runTest', methodName='runTest')",
        "DTensorTestBase": "(self, method_name='runTest', methodName='runTest')",
        "MLPModule": "(self, device, bias=True)",
        "MLPStacked": "(self, device, n_layers=2)",
        "ModelArgs": (
            "(self, n_layers=2, vocab_size=8, max_seq_len=16, dim=16, n_heads=4, dropout_p=0.1, "
            "use_attn_mask=True, weight_tying=True, checkpoint_activations=False, num_experts=0)"
        ),
        "MultiProcessTestCase": "(self, method_name='runTest', methodName='runTest')",
        "NUM_DEVICES": None,
        "RMSNormPython": "(self, dim, eps=1e-06)",
        "Transformer": "(self, args)",
        "TransformerBlock": "(self, args)",
        "skip_if_lt_x_gpu": "(x, *, allow_cpu=False)",
        "skip_unless_torch_gpu": "(method)",
        "with_comms": "(eager_init=False, backend=None)",
    },
    "distributed._shard.sharded_tensor": {
        "ShardedTensorTestBase": "(self, method_name='runTest', methodName='runTest')",
        "TEST_GPU_NUM": None,
        "with_comms": "(func=None, init_rpc=True, backend='nccl')",
    },
    "common_cuda": {
        "PLATFORM_SUPPORTS_FLASH_ATTENTION": None,
        "PLATFORM_SUPPORTS_FUSED_ATTENTION": None,
        "PLATFORM_SUPPORTS_MEM_EFF_ATTENTION": None,
        "TEST_CUDA": None,
        "TEST_MULTIGPU": None,
    },
    "common_dist_composable": {
        "CompositeModel": "(self, device)",
        "CompositeParamModel": "(self, device)",
        "FakeSequential": "(self, *modules)",
        "NestedSequentialModel": "(self, device)",
        "UnitModule": "(self, device)",
    },
    "distributed.checkpoint_utils": {
        "with_temp_dir": "(func=None)",
    },
    "common_device_type": {
        "dtypes": "(self, *args, device_type='all')",
        "instantiate_device_type_tests": (
            "(generic_test_class, scope, except_for=None, only_for=None, include_lazy=False, "
            "allow_mps=False, allow_xpu=False)"
        ),
        "onlyCUDA": "(fn)",
        "ops": "(self, op_list, *, dtypes=<OpDTypes.supported: 0>, allowed_dtypes=None, skip_if_dynamo=True)",
        "skipMeta": "(fn)",
    },
    "distributed.rpc_utils": {
        "FAULTY_AGENT_TESTS": None,
        "GENERIC_CUDA_TESTS": None,
        "GENERIC_TESTS": None,
        "TENSORPIPE_CUDA_TESTS": None,
        "TENSORPIPE_TESTS": None,
        "generate_tests": "(prefix, mixin, tests, module_name)",
    },
    "distributed._shard.sharded_tensor._test_ops_common": {
        "clone_module_parameter": "(module, param_name)",
        "generate_chunk_sharding_specs_for_test": "(sharding_dim)",
        "generate_local_weight_sharding_params_for_test": "(local_weight, sharded_dim, gpu_num, spec, rank)",
    },
    "distributed.fake_pg": {
        "FakeStore": None,
    },
    "distributed._shard.sharded_tensor._test_st_common": {
        "MyShardedModel1": "(self, spec=None, group=None, init_rrefs=True)",
        "_chunk_sharding_specs_list_for_test": "(sharding_dims, seed=0)",
    },
    "distributed.common_state_dict": {
        "VerifyStateDictMixin": None,
    },
    "distributed.distributed_utils": {
        "with_dist": "(rank=0, world_size=2)",
        "with_fake_comms": "(func=None, rank=0, world_size=2)",
    },
    "distributed.rpc.tensorpipe_rpc_agent_test_fixture": {
        "TensorPipeRpcAgentTestFixture": None,
    },
    "common_methods_invocations": {
        "DecorateInfo": (
            "(self, decorators, cls_name=None, test_name=None, *, device_type=None, dtypes=None, active_if=True)"
        ),
        "op_db": None,
    },
    "distributed.rpc.faulty_rpc_agent_test_fixture": {
        "FaultyRpcAgentTestFixture": None,
    },
    "distributed._shard.test_common": {
        "SimpleMegatronLM": "(self, linear_size, rank=None, dtype=torch.float32)",
    },
    "two_tensor": {
        "TwoTensor": None,
    },
}


def signature(named: object) -> str:
    """Names, kinds and defaults of the parameters; of a class, those of its constructor."""
    of_what = named.__init__ if isinstance(named, type) else named
    found = inspect.signature(of_what)
    bare = [_bare(parameter) for parameter in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    default = parameter.default
    if isinstance(default, float) and default.is_integer():
        default = int(default)  # equal numbers are to look alike
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)
