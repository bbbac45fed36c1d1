"""Torch's state is put back after a test: each case changes one part of it."""

import sys
from pathlib import Path

import torch
import torch.utils.checkpoint
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from torch_testing_shim._isolation.rank_reset import RankReset
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases, forked

CASES = Cases()
#: Contexts that stay entered: some are left when they are collected.
ENTERED = []


def enter(context):
    ENTERED.append(context)
    context.__enter__()


@CASES.changes(torch.get_num_threads)
def the_number_of_threads():
    torch.set_num_threads(torch.get_num_threads() + 1)


@CASES.changes(lambda: torch.get_rng_state().tolist())
def the_generator():
    torch.rand(1)


@CASES.changes(lambda: torch.jit._state._enabled.enabled)
def the_compiler_of_scripts():
    torch.jit._state.disable()


@CASES.changes(torch.is_grad_enabled)
def grad_mode():
    torch.set_grad_enabled(False)


@CASES.changes(torch.is_inference_mode_enabled)
def inference_mode():
    enter(torch.inference_mode())


@CASES.changes(lambda: [torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()])
def anomaly_mode():
    torch.autograd.set_detect_anomaly(True, check_nan=False)


@CASES.changes(torch.autograd.is_multithreading_enabled)
def autograds_threads():
    torch.autograd.set_multithreading_enabled(False)


@CASES.changes(torch._C._is_view_replay_enabled)
def view_replay():
    torch._C._set_view_replay_enabled(not torch._C._is_view_replay_enabled())


@CASES.changes(torch._C._is_fwd_grad_enabled)
def forward_gradients():
    torch._C._set_fwd_grad_enabled(False)


@CASES.changes(lambda: torch.autograd.forward_ad._current_level)
def a_forward_mode_level():
    enter(torch.autograd.forward_ad.dual_level())


def saved():
    """Return what autograd has saved, where hooks may change it, and whether they may."""
    saved_by = (torch.ones(1, requires_grad=True) ** 2).grad_fn
    return saved_by._saved_self.item(), torch._C._autograd._saved_tensors_hooks_is_enabled()


@CASES.changes(saved)
def hooks_of_saved_tensors():
    enter(torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor + 1))
    enter(torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor + 1))


@CASES.changes(saved)
def hooks_of_saved_tensors_that_are_disabled():
    enter(torch.autograd.graph.disable_saved_tensors_hooks("by a test"))


@CASES.changes(torch.autograd._profiler_enabled)
def a_profiler():
    enter(torch.autograd.profiler.profile())


@CASES.changes(torch._C._len_torch_function_stack)
def a_mode_of_torch_functions():
    enter(type("Mode", (TorchFunctionMode,), {})())


@CASES.changes(torch._C._len_torch_dispatch_stack)
def a_mode_of_dispatch():
    enter(type("Mode", (TorchDispatchMode,), {})())


@CASES.changes(torch._C._get_torch_function_state)
def overrides():
    enter(torch._C.DisableTorchFunctionSubclass())


@CASES.changes(lambda: [str(torch.empty(1).device), torch._C._len_torch_function_stack()])
def a_default_device():
    torch.set_default_device("meta")


@CASES.changes(torch._C._len_torch_function_stack)
def a_default_device_below_a_mode():
    torch.set_default_device("meta")
    enter(type("Mode", (TorchFunctionMode,), {})())


@CASES.changes(torch.get_default_dtype)
def the_default_dtype():
    torch.set_default_dtype(torch.float64)


@CASES.changes(lambda: [torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")])
def autocast():
    enter(torch.autocast("cpu", torch.float16))


@CASES.changes(torch.is_autocast_cache_enabled)
def autocasts_cache():
    torch.set_autocast_cache_enabled(False)


@CASES.changes(torch.get_float32_matmul_precision)
def the_precision_of_matmul():
    torch.set_float32_matmul_precision("high")


@CASES.changes(lambda: [torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled])
def flags_of_backends():
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.enabled = torch.backends.mkldnn.enabled = False


@CASES.changes(torch.backends.cuda.math_sdp_enabled)
def kernels_of_attention():
    torch.backends.cuda.enable_math_sdp(False)


@CASES.changes(torch.is_warn_always_enabled)
def warnings_that_are_always_shown():
    torch.set_warn_always(True)


@CASES.changes(torch.are_deterministic_algorithms_enabled)
def determinism():
    torch.use_deterministic_algorithms(True)


@CASES.changes(lambda: repr((torch.tensor([5e-324], dtype=torch.float64) * 1).item()))
def denormal_numbers():
    torch.set_flush_denormal(True)


def hooks():
    owners = (torch.nn.modules.module, optimizer)
    return [len(value) for owner in owners for name, value in vars(owner).items() if name.endswith("_hooks")]


@CASES.changes(hooks)
def global_hooks():
    modules = torch.nn.modules.module
    for kind in ("forward_pre", "forward", "full_backward_pre", "full_backward"):
        getattr(modules, f"register_module_{kind}_hook")(lambda *_: None)
    for kind in ("buffer", "module", "parameter"):
        getattr(modules, f"register_module_{kind}_registration_hook")(lambda *_: None)
    optimizer.register_optimizer_step_pre_hook(lambda *_: None)
    optimizer.register_optimizer_step_post_hook(lambda *_: None)


@CASES.changes(lambda: str(torch.tensor(0.123)))
def how_tensors_are_printed():
    torch.set_printoptions(precision=1)


@CASES.changes(torch.__future__.get_swap_module_params_on_conversion)
def behaviour_of_the_future():
    torch.__future__.set_swap_module_params_on_conversion(True)


@CASES.changes(torch.multiprocessing.get_sharing_strategy)
def how_tensors_are_shared():
    torch.multiprocessing.set_sharing_strategy("file_system")


@CASES.changes(torch.sparse.check_sparse_tensor_invariants.is_enabled)
def checks_of_sparse_tensors():
    enabled = torch.sparse.check_sparse_tensor_invariants
    enabled.disable() if enabled.is_enabled() else enabled.enable()


@CASES.changes(lambda: set(torch.serialization.get_safe_globals()))
def what_may_be_loaded():
    torch.serialization.add_safe_globals([TestCase])


@CASES.changes(torch._C._functorch.maybe_current_level)
def level_of_vmap():
    torch._C._functorch._vmap_increment_nesting(3, "error")


@CASES.changes(lambda: torch._C._dispatch_tls_is_dispatch_key_included("Functionalize"))
def functionalization():
    torch._enable_functionalization(reapply_views=True)


@CASES.changes(lambda: torch._C._dispatch_tls_is_dispatch_key_excluded("ADInplaceOrView"))
def excluded_key():
    torch._C._dispatch_tls_set_dispatch_key_excluded("ADInplaceOrView", True)


@CASES.changes(torch.hub.get_dir)
def folder_of_models():
    torch.hub.set_dir("/of_a_test")


@CASES.changes(torch.utils.data.get_worker_info)
def worker():
    torch.utils.data._utils.worker._worker_info = 1


@CASES.changes(lambda: [torch.backends.opt_einsum.strategy, torch.backends.opt_einsum.enabled])
def contractions():
    torch.backends.opt_einsum.strategy = "greedy"
    torch.backends.opt_einsum.enabled = None


@CASES.changes(torch.backends.flags_frozen)
def frozen_flags():
    torch.backends.disable_global_flags()


def name_the_device():
    """Return what is said of a test that names the device which is for others' use."""
    reset = RankReset.of_this_process()
    torch.utils.rename_privateuse1_backend("of_a_test")
    return reset.restore()


class EachPart(TestCase):
    def test_is_put_back(self):
        self.assertEqual({}, CASES.run_forked())

    def test_a_name_that_is_given_once_cannot_be(self):
        self.assertEqual(["the name of the device privateuseone: could not be put back"], forked(name_the_device))


if __name__ == "__main__":
    run_tests()
