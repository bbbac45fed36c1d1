"""The answers of a run with `--map-device`: one table, for `--help` and docs/mapped-devices.md. It needs no torch.

Calls are named as for `cuda`; where another type is mapped, its module has the same answers. Every public name of
`torch.cuda` and `torch.accelerator`, and every function of `torch` and method of `torch.Tensor` that takes a device,
stands in a row.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass


class Way(enum.Enum):
    """How a call comes to its answer."""

    OWN = "a function of the simulation"
    NOTHING = "None"
    ZERO = "0"
    YES = "True"
    NO = "False"
    TARGET = "the same name of the other device type"
    MAPPED = "torch's own, with the device among its arguments mapped"
    TORCH = "torch's own, which asks the calls above"
    DISTRIBUTED = "torch's own, with other arguments or other kernels (`distributed_calls`, `gloo_limits`)"
    REFUSED = "an error that names the call"


@dataclass(frozen=True)
class Row:
    """Some calls that are answered in the same way."""

    owner: str  # what has them, "torch.cuda"
    calls: str  # their names in the owner, with blanks between them; "nvtx.mark" for a submodule's
    way: Way  # how they come to their answer
    answer: str  # the answer in words

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.calls.split())


_CUDA, _ACCELERATOR, _TENSOR = "torch.cuda", "torch.accelerator", "torch.Tensor"
_DISTRIBUTED = "torch.distributed"
_ALWAYS_DONE = "nothing is left to do: calls on the CPU have run when they return, and the CPU caches nothing"
_UNKNOWN = "refused: NotImplementedError names the call and says that the map does not know it"

TABLE: tuple[Row, ...] = (
    Row(_CUDA, "is_available is_initialized is_bf16_supported", Way.YES, "True"),
    Row(
        _CUDA,
        "is_tf32_supported can_device_access_peer is_current_stream_capturing graphs.is_current_stream_capturing"
        " graph_annotations.is_available gds.is_available green_contexts.is_localization_supported _is_in_bad_fork",
        Way.NO,
        "False",
    ),
    Row(_CUDA, "device_count", Way.OWN, "the number of simulated devices, 8"),
    Row(
        _CUDA,
        "current_device set_device device device_of _exchange_device _maybe_exchange_device _DeviceGuard",
        Way.OWN,
        "a number that each thread keeps, from 0 to 7; tests and ranks start with their own; by number, name or device",
    ),
    Row(
        _CUDA,
        "init synchronize empty_cache ipc_collect reset_accumulated_memory_stats reset_peak_memory_stats"
        " reset_max_memory_allocated reset_max_memory_cached reset_accumulated_host_memory_stats"
        " reset_peak_host_memory_stats nvtx.mark nvtx.range_push nvtx.range_pop nvtx.range_start nvtx.range_end _sleep",
        Way.NOTHING,
        _ALWAYS_DONE,
    ),
    Row(
        _CUDA,
        "Stream Event StreamContext stream current_stream default_stream set_stream",
        Way.OWN,
        "streams that each thread keeps, and that order nothing, since calls follow each other anyway;"
        " `elapsed_time` is the wall clock's",
    ),
    Row(
        _CUDA,
        "manual_seed manual_seed_all seed seed_all initial_seed get_rng_state get_rng_state_all set_rng_state"
        " set_rng_state_all default_generators",
        Way.OWN,
        "the other device's one generator, for each of the simulated devices",
    ),
    Row(
        _CUDA,
        "memory_allocated max_memory_allocated memory_reserved max_memory_reserved memory_cached max_memory_cached",
        Way.ZERO,
        "0",
    ),
    Row(
        _CUDA,
        "memory_stats memory_stats_as_nested_dict host_memory_stats host_memory_stats_as_nested_dict memory_snapshot"
        " memory_summary",
        Way.OWN,
        "empty: every statistic is 0",
    ),
    Row(_CUDA, "mem_get_info", Way.OWN, "the host's free and whole memory"),
    Row(
        _CUDA,
        "get_device_name get_device_properties get_device_capability get_arch_list",
        Way.OWN,
        '"simulated cuda (cpu)", capability (6, 0), which takes neither flash attention nor fp8, no compiled kernels',
    ),
    Row(_CUDA, "get_allocator_backend get_sync_debug_mode set_sync_debug_mode", Way.OWN, '"native"; a kept number'),
    Row(_CUDA, "cudart check_error", Way.OWN, "registering host memory and the profiler succeed; the rest is refused"),
    Row(_CUDA, "nccl.version", Way.OWN, "(2, 20, 5), whose collectives the map knows"),
    Row(_CUDA, "nccl.is_available", Way.NO, "False: torch.distributed has them, over gloo"),
    Row(
        _CUDA,
        "amp.autocast amp.GradScaler",
        Way.TORCH,
        "those of the other device: tensors are cast, to float16 where no dtype is given",
    ),
    Row(_CUDA, "amp.custom_fwd amp.custom_bwd", Way.OWN, "those of the other device"),
    Row(
        _CUDA,
        "has_half has_magma get_gencode_flags amp.amp_definitely_not_available nvtx.range profiler.start profiler.stop"
        " profiler.profile cudaStatus CudaError DeferredCudaCallError OutOfMemoryError AcceleratorError",
        Way.TORCH,
        "torch's own, which asks the calls above",
    ),
    Row(
        _CUDA,
        "BFloat16Storage BFloat16Tensor BoolStorage BoolTensor ByteStorage ByteTensor CharStorage CharTensor"
        " ComplexDoubleStorage ComplexFloatStorage DoubleStorage DoubleTensor FloatStorage FloatTensor HalfStorage"
        " HalfTensor IntStorage IntTensor LongStorage LongTensor ShortStorage ShortTensor sparse.BFloat16Tensor"
        " sparse.ByteTensor sparse.CharTensor sparse.DoubleTensor sparse.FloatTensor sparse.HalfTensor"
        " sparse.IntTensor sparse.LongTensor sparse.ShortTensor",
        Way.TARGET,
        "the CPU's types",
    ),
    Row(
        _CUDA,
        "CUDAGraph CUDAPluggableAllocator ExternalStream GreenContext MemPool MemPoolContext caching_allocator_alloc"
        " caching_allocator_delete caching_allocator_disabled caching_allocator_enable change_current_allocator"
        " clock_rate current_blas_handle current_solver_handle device_memory_used export_dot export_graph_data"
        " get_per_process_memory_fraction get_stream_from_external graph graph_pool_handle list_gpu_processes"
        " make_graphed_callables memory_usage power_draw set_per_process_memory_fraction temperature use_mem_pool"
        " utilization memory._dump_snapshot memory._record_memory_history memory._set_allocator_settings"
        " memory._snapshot gds.GdsFile gds.gds_deregister_buffer gds.gds_register_buffer"
        " graph_annotations.clear_kernel_annotations graph_annotations.get_kernel_annotations"
        " graph_annotations.mark_kernels graph_annotations.dump_kernel_py_stacks"
        " graph_annotations.get_kernel_py_stacks graphs.register_graph_capture_end_hook"
        " graphs.register_graph_capture_start_hook graphs.register_graph_destroy_hook"
        " graphs.register_graph_instantiate_hook graphs.register_graph_replay_end_hook"
        " graphs.register_graph_replay_start_hook green_contexts.GreenContext green_contexts.SMPartition"
        " green_contexts.get_num_locality_domains nccl.all_gather nccl.all_reduce"
        " nccl.broadcast nccl.init_rank nccl.reduce nccl.reduce_scatter nccl.unique_id tunable.enable"
        " tunable.get_cublaslt_requested_algo_count tunable.get_filename tunable.get_max_tuning_duration"
        " tunable.get_max_tuning_iterations tunable.get_results tunable.get_rotating_buffer_size"
        " tunable.get_validators tunable.is_enabled tunable.mgpu_tune_gemm_in_file tunable.read_file"
        " tunable.record_untuned_enable tunable.record_untuned_is_enabled"
        " tunable.set_cublaslt_requested_algo_count tunable.set_filename tunable.set_max_tuning_duration"
        " tunable.set_max_tuning_iterations tunable.set_numerical_check_tolerances"
        " tunable.set_rotating_buffer_size tunable.tune_gemm_in_file tunable.tuning_enable"
        " tunable.tuning_is_enabled tunable.write_file tunable.write_file_on_exit profiler.init"
        " tunable.dynamic_dims_mask tunable.wildcard_fallback_enable"
        " tunable.wildcard_fallback_is_enabled jiterator._create_jit_fn jiterator._create_multi_output_jit_fn",
        Way.REFUSED,
        _UNKNOWN,
    ),
    Row(_CUDA, "_lazy_init", Way.OWN, "refused: torch asks it before it uses a real device for any other call"),
    Row(
        _ACCELERATOR,
        "is_available current_accelerator device_count current_device_index current_device_idx set_device_index"
        " set_device_idx device_index current_stream set_stream synchronize empty_cache empty_host_cache memory_stats"
        " memory_allocated max_memory_allocated memory_reserved max_memory_reserved reset_accumulated_memory_stats"
        " reset_peak_memory_stats get_memory_info get_device_capability random.get_rng_state random.get_rng_state_all"
        " random.initial_seed random.manual_seed random.manual_seed_all random.seed random.seed_all"
        " random.set_rng_state random.set_rng_state_all",
        Way.OWN,
        "what torch.cuda answers; the accelerator is the other device",
    ),
    Row(_ACCELERATOR, "Graph", Way.REFUSED, _UNKNOWN),
    Row(
        "torch", "device", Way.TORCH, "the other device; an index is kept, and says nothing where devices are compared"
    ),
    Row("torch", "Generator", Way.TORCH, "a generator of the other device"),
    Row("torch", "Stream Event _C._dynamo.utils.get_current_stream", Way.OWN, "those of torch.cuda"),
    Row("torch", "get_device_module", Way.OWN, "torch.cuda, for both device types"),
    Row(
        "torch",
        "arange as_tensor asarray bartlett_window blackman_window empty empty_like empty_permuted empty_quantized"
        " empty_strided eye frombuffer from_dlpack from_file full full_like hamming_window hann_window kaiser_window"
        " linspace logspace normal ones ones_like rand rand_like randint randint_like randn randn_like randperm range"
        " scalar_tensor set_default_device sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor"
        " sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor tensor tril_indices triu_indices zeros zeros_like"
        " fft.fftfreq fft.rfftfreq nested.nested_tensor nested.as_nested_tensor"
        " set_autocast_enabled is_autocast_available",
        Way.MAPPED,
        "on the other device",
    ),
    Row(
        "torch",
        "is_autocast_enabled get_autocast_dtype set_autocast_dtype get_autocast_gpu_dtype set_autocast_gpu_dtype",
        Way.OWN,
        "the other device's while it casts; before, cuda's dtype, float16",
    ),
    Row("torch", "autocast GradScaler", Way.TORCH, "as torch.cuda.amp's"),
    Row("torch", "amp.custom_fwd amp.custom_bwd amp.is_autocast_available", Way.MAPPED, "the other device's"),
    Row("torch", "_C._nn._parse_to", Way.OWN, "the other device, where `torch.nn.Module.to` is given a device"),
    Row(
        "torch",
        "_utils._get_device_index cuda._utils._get_device_index accelerator._utils._get_device_index",
        Way.OWN,
        "the number of a device, by which torch.nn.parallel knows it",
    ),
    Row("torch", "random.fork_rng", Way.OWN, "keeps the other device's generator"),
    Row(
        "torch",
        "load get_default_device UntypedStorage TypedStorage Storage BFloat16Storage BoolStorage ByteStorage"
        " CharStorage ComplexDoubleStorage ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage"
        " LongStorage QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage ShortStorage",
        Way.TORCH,
        "torch's own: what a file says to lie on cuda, or a `map_location` of cuda, is loaded to the other device",
    ),
    Row(
        _TENSOR, "new new_empty new_empty_strided new_full new_ones new_tensor new_zeros", Way.MAPPED, "the same there"
    ),
    Row(_TENSOR, "to cuda", Way.OWN, "the tensor on the other device: itself where it lies there"),
    Row(_TENSOR, "type", Way.OWN, "the CPU's types for those of torch.cuda"),
    Row(_TENSOR, "is_cuda", Way.OWN, "True for a tensor of the other device, also for one that was made there by name"),
    Row(_TENSOR, "device get_device", Way.TORCH, "the other device; -1 where that is the CPU"),
    Row(_TENSOR, "pin_memory is_pinned", Way.OWN, "a copy in the CPU's memory, which is known as pinned"),
    Row(_TENSOR, "record_stream", Way.OWN, "nothing: memory is freed when nobody holds it"),
    Row(
        "torch.cpu",
        "Stream Event StreamContext stream current_stream",
        Way.OWN,
        "those of torch.cuda, which can do more; only where the other device is the CPU",
    ),
    Row("torch.utils._triton", "has_triton", Way.NO, "False"),
    Row(
        "torch.backends.cuda",
        "is_flash_attention_available can_use_flash_attention can_use_efficient_attention can_use_cudnn_attention"
        " is_ck_sdpa_available",
        Way.NO,
        "False",
    ),
    Row("torch.backends.cuda", "is_built", Way.TORCH, "whether torch's build has the kernels"),
    Row("torch.backends.cuda", "cufft_plan_cache", Way.REFUSED, _UNKNOWN),
    Row(
        _DISTRIBUTED,
        "init_process_group new_group",
        Way.DISTRIBUTED,
        'the other type\'s backend ("nccl" is gloo, "cpu:gloo,cuda:nccl" is "cpu:gloo"), without `device_id` and'
        " `pg_options`",
    ),
    Row(_DISTRIBUTED, "split_group", Way.DISTRIBUTED, "a new group of the ranks"),
    Row(_DISTRIBUTED, "is_backend_available is_nccl_available", Way.DISTRIBUTED, "True for the mapped type's backend"),
    Row(_DISTRIBUTED, "barrier", Way.DISTRIBUTED, "without `device_ids`"),
    Row(_DISTRIBUTED, "device_mesh.init_device_mesh device_mesh.DeviceMesh", Way.DISTRIBUTED, "of the other type"),
    Row(
        _DISTRIBUTED,
        "all_to_all all_gather",
        Way.DISTRIBUTED,
        "also for lists of sizes that differ, which gloo does not take",
    ),
    Row(
        _DISTRIBUTED,
        "all_reduce reduce reduce_scatter reduce_scatter_tensor broadcast gather scatter",
        Way.DISTRIBUTED,
        "also of float8 (in float32) and with PREMUL_SUM, which gloo does not know",
    ),
    Row(_DISTRIBUTED, "isend irecv batch_isend_irecv", Way.DISTRIBUTED, "also within one rank"),
    Row(
        "torch.distributed.tensor",
        "rand randn",
        Way.REFUSED,
        "refused: DTensor shares the state of a cuda generator out, which the CPU's has not",
    ),
    Row(_DISTRIBUTED, "_coalescing_manager", Way.DISTRIBUTED, "without its device"),
    Row(
        _DISTRIBUTED,
        "fsdp.FullyShardedDataParallel",
        Way.DISTRIBUTED,
        "with the other `device_id`; copies what it offloads",
    ),
    Row(
        "torch.nn.parallel",
        "DistributedDataParallel",
        Way.DISTRIBUTED,
        "without `output_device` and a list of one `device_ids`",
    ),
    Row(
        "torch.nn.parallel",
        "DataParallel data_parallel replicate scatter gather parallel_apply",
        Way.TORCH,
        "torch's own: parts and copies lie on the other device, each for a simulated one",
    ),
    Row("torch.nn", "SyncBatchNorm", Way.DISTRIBUTED, "sums of all ranks' batches by torch.distributed"),
    Row(
        _DISTRIBUTED,
        "ProcessGroupNCCL",
        Way.DISTRIBUTED,
        "a ProcessGroupGloo; its `Options` take every attribute, and say nothing",
    ),
    Row(
        "torch.autograd.profiler", "profile", Way.DISTRIBUTED, "the CPU's profile also where cuda's alone is asked for"
    ),
    Row("torch.autograd.profiler", "emit_nvtx", Way.REFUSED, _UNKNOWN),
)


def table_text() -> Iterator[str]:
    """The table as lines of Markdown."""
    yield "| call | answer |"
    yield "| --- | --- |"
    for row in TABLE:
        names = ", ".join(f"`{name}`" for name in row.names)
        yield f"| {row.owner}: {names} | {row.answer} |"
