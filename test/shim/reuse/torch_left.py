"""What tests leave of torch: settings, modes, hooks, caches, and functions that they patched and forgot."""

import ctypes
import datetime
import sys
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn.modules.module as nn_module
from left_state import LeftState, LeftStateTestCase, with_tests
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.testing._comparison import _DTYPE_PRECISIONS
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils._pytree import SUPPORTED_NODES, register_pytree_node

from torch_testing_shim.common_utils import run_tests


class Quiet(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class QuietDispatch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def fake(*arguments: object, **named: object) -> str:
    return "fake"


def shown(function: object) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


def hooks() -> list[int]:
    """How many hooks each registry of torch.nn has."""
    return [
        len(found) for name, found in sorted(vars(nn_module).items()) if name.startswith("_global_") and is_dict(found)
    ]


def is_dict(found: object) -> bool:
    return isinstance(found, dict)


def is_function_mode_on() -> int:
    return torch._C._len_torch_function_stack()


def precision() -> str:
    return torch.get_float32_matmul_precision()


def compiled() -> int:
    """How many frames the compiler has counted; 0 where it is not imported."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return sum(dynamo.counters["frames"].values()) if dynamo is not None else 0


def compile_something() -> None:
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))


def define_operator() -> None:
    library = torch.library.Library("left_by_a_test", "DEF")
    library.define("nothing(Tensor x) -> Tensor")
    keep(library)


def stance() -> str:
    frames = sys.modules.get("torch._dynamo.eval_frame")
    return "default" if frames is None else frames._stance.stance


TENSOR = torch.zeros(2)
GENERATOR = torch.Generator()


def give_kernel() -> None:
    library = torch.library.Library("aten", "IMPL")
    library.impl("special_erfcx", lambda x: x + 41, "CPU")
    keep(library)


def keep(value: object) -> None:
    """Keep a value for good, where no table of Python's shows it, as a C extension may."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def enter(context: object) -> None:
    """Enters a context and never leaves it."""
    context.__enter__()
    keep(context)


def rank_state() -> bytes:
    return bytes(torch.get_rng_state()[:8].tolist())


class TorchLeft(LeftStateTestCase):
    states = (
        LeftState("default dtype", lambda _: torch.set_default_dtype(torch.float64), lambda _: torch.ones(1).dtype),
        LeftState("default device", lambda _: torch.set_default_device("meta"), lambda _: torch.ones(1).device),
        LeftState("no grad", lambda _: torch.set_grad_enabled(False), lambda _: torch.is_grad_enabled()),
        LeftState("no grad, entered", lambda _: torch.no_grad().__enter__(), lambda _: torch.is_grad_enabled()),
        LeftState(
            "inference mode", lambda _: enter(torch.inference_mode()), lambda _: torch.is_inference_mode_enabled()
        ),
        LeftState(
            "autocast", lambda _: torch.set_autocast_enabled("cpu", True), lambda _: torch.is_autocast_enabled("cpu")
        ),
        LeftState(
            "type of autocast",
            lambda _: torch.set_autocast_dtype("cpu", torch.float16),
            lambda _: torch.get_autocast_dtype("cpu"),
        ),
        LeftState(
            "determinism",
            lambda _: torch.use_deterministic_algorithms(True),
            lambda _: torch.are_deterministic_algorithms_enabled(),
        ),
        LeftState("threads", lambda _: torch.set_num_threads(3), lambda _: torch.get_num_threads()),
        LeftState("random numbers", lambda _: torch.manual_seed(7), lambda _: rank_state()),
        LeftState("random numbers drawn", lambda _: torch.rand(3), lambda _: rank_state()),
        LeftState(
            "anomaly mode", lambda _: torch.autograd.set_detect_anomaly(True), lambda _: torch.is_anomaly_enabled()
        ),
        LeftState(
            "one thread of autograd",
            lambda _: torch.autograd.set_multithreading_enabled(False),
            lambda _: torch._C._is_multithreading_enabled(),
        ),
        LeftState("precision", lambda _: torch.set_float32_matmul_precision("medium"), lambda _: precision()),
        LeftState("warn always", lambda _: torch.set_warn_always(True), lambda _: torch.is_warn_always_enabled()),
        LeftState("flush denormal", lambda _: torch.set_flush_denormal(True), lambda _: float(torch.tensor(1e-40) * 1)),
        LeftState("print options", lambda _: torch.set_printoptions(precision=1), lambda _: str(torch.tensor(1.2345))),
        LeftState(
            "backend flag",
            lambda _: setattr(torch.backends.mkldnn, "enabled", False),
            lambda _: torch.backends.mkldnn.enabled,
        ),
        LeftState(
            "backend flag of cudnn",
            lambda _: setattr(torch.backends.cudnn, "benchmark", True),
            lambda _: torch.backends.cudnn.benchmark,
        ),
        LeftState(
            "sharing strategy",
            lambda _: torch.multiprocessing.set_sharing_strategy("file_system"),
            lambda _: torch.multiprocessing.get_sharing_strategy(),
        ),
        LeftState(
            "swapped parameters",
            lambda _: torch.__future__.set_swap_module_params_on_conversion(True),
            lambda _: torch.__future__.get_swap_module_params_on_conversion(),
        ),
        LeftState(
            "debug level",
            lambda _: dist.set_debug_level(dist.DebugLevel.DETAIL),
            lambda _: dist.get_debug_level(),
        ),
        LeftState(
            "safe globals",
            lambda _: torch.serialization.add_safe_globals([Quiet]),
            lambda _: len(torch.serialization.get_safe_globals()),
        ),
        LeftState(
            "forward hook of all modules", lambda _: nn_module.register_module_forward_hook(fake), lambda _: hooks()
        ),
        LeftState(
            "backward hook of all modules",
            lambda _: nn_module.register_module_full_backward_hook(fake),
            lambda _: hooks(),
        ),
        LeftState(
            "hook on new parameters",
            lambda _: nn_module.register_module_parameter_registration_hook(fake),
            lambda _: hooks(),
        ),
        LeftState(
            "hook of all optimizers",
            lambda _: register_optimizer_step_pre_hook(fake),
            lambda _: len(sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks),
        ),
        LeftState(
            "hooks of saved tensors",
            lambda _: enter(torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x + 1)),
            lambda _: (torch.ones(1, requires_grad=True) ** 2).grad_fn._saved_self.item(),
        ),
        LeftState(
            "level of vmap",
            lambda _: torch._C._functorch._vmap_increment_nesting(3, "error"),
            lambda _: torch._C._functorch.maybe_current_level(),
        ),
        LeftState(
            "functionalization",
            lambda _: torch._enable_functionalization(reapply_views=True),
            lambda _: torch._C._dispatch_tls_is_dispatch_key_included("Functionalize"),
        ),
        LeftState(
            "stance of compilation",
            lambda _: torch.compiler.set_stance("force_eager"),
            lambda _: stance(),
        ),
        LeftState("folder of models", lambda _: torch.hub.set_dir("/left"), lambda _: torch.hub._hub_dir),
        LeftState(
            "fusion in scripts",
            lambda _: torch._C._jit_override_can_fuse_on_cpu(not torch._C._jit_can_fuse_on_cpu()),
            lambda _: torch._C._jit_can_fuse_on_cpu(),
        ),
        LeftState(
            "timeout of process groups",
            lambda _: setattr(dist.distributed_c10d, "default_pg_timeout", datetime.timedelta(1)),
            lambda _: dist.distributed_c10d.default_pg_timeout,
            replaced="default_pg_timeout",
        ),
        LeftState("function mode", lambda _: enter(Quiet()), lambda _: is_function_mode_on()),
        LeftState("dispatch mode", lambda _: enter(QuietDispatch()), lambda _: _get_current_dispatch_mode() is None),
        LeftState(
            "profiler", lambda _: enter(torch.autograd.profiler.profile()), lambda _: torch.autograd._profiler_enabled()
        ),
        LeftState("compiled code", lambda _: compile_something(), lambda _: compiled()),
        LeftState(
            "library of operators",
            lambda _: define_operator(),
            lambda _: hasattr(torch.ops.left_by_a_test, "nothing"),
            replaced="left_by_a_test",
        ),
        LeftState(
            "method of a module",
            lambda _: setattr(torch.nn.Linear, "forward", fake),
            lambda _: shown(torch.nn.Linear.forward),
            replaced="torch.nn.*Linear.forward",
        ),
        LeftState(
            "method of the base of modules",
            lambda _: setattr(
                torch.nn.Module,
                "left",
                fake,
            ),
            lambda _: hasattr(torch.nn.Module, "left"),
            replaced="Module.left",
        ),
        LeftState(
            "method of tensors",
            lambda _: setattr(torch.Tensor, "add", fake),
            lambda _: shown(torch.Tensor.add),
            replaced="Tensor.add",
        ),
        LeftState(
            "new method of tensors",
            lambda _: setattr(torch.Tensor, "left", fake),
            lambda _: hasattr(torch.Tensor, "left"),
            replaced="Tensor.left",
        ),
        LeftState(
            "function of torch",
            lambda _: setattr(torch, "ones", fake),
            lambda _: shown(torch.ones),
            replaced="torch.ones",
        ),
        LeftState(
            "new function of torch",
            lambda _: setattr(torch, "left", fake),
            lambda _: hasattr(torch, "left"),
            replaced="torch.left",
        ),
        LeftState(
            "function of torch.distributed",
            lambda _: setattr(dist, "all_reduce", fake),
            lambda _: shown(dist.all_reduce),
            replaced="all_reduce",
        ),
        LeftState(
            "function that torch.distributed calls",
            lambda _: setattr(dist.distributed_c10d, "get_rank", fake),
            lambda _: shown(dist.distributed_c10d.get_rank),
            replaced="get_rank",
        ),
        LeftState(
            "method deleted",
            lambda _: delattr(torch.nn.Linear, "reset_parameters"),
            lambda _: hasattr(torch.nn.Linear, "reset_parameters"),
            replaced="reset_parameters",
        ),
        LeftState(
            "patch of a method that is active",
            lambda _: mock.patch.object(torch.nn.Linear, "forward", fake).start(),
            lambda _: shown(torch.nn.Linear.forward),
            replaced="Linear.forward",
        ),
        LeftState(
            "patch of torch by its name",
            lambda _: mock.patch("torch.nn.functional.relu", fake).start(),
            lambda _: shown(torch.nn.functional.relu),
            replaced="relu",
        ),
        LeftState(
            "backend of process groups",
            lambda _: dist.Backend.register_backend("left_by_a_test", fake, devices=["cpu"]),
            lambda _: "left_by_a_test" in dist.Backend.backend_list,
        ),
        LeftState(
            "compiler of scripts", lambda _: torch.jit._state.disable(), lambda _: torch.jit._state._enabled.enabled
        ),
        LeftState(
            "fast path of attention",
            lambda _: torch.backends.mha.set_fastpath_enabled(False),
            lambda _: torch.backends.mha.get_fastpath_enabled(),
        ),
        LeftState("values of a tensor", lambda _: TENSOR.data.fill_(1), lambda _: TENSOR.tolist(), replaced="TENSOR"),
        LeftState(
            "generator", lambda _: GENERATOR.manual_seed(1), lambda _: GENERATOR.initial_seed(), replaced="GENERATOR"
        ),
        LeftState(
            "tolerances",
            lambda _: _DTYPE_PRECISIONS.update({torch.float32: (1.0, 1.0)}),
            lambda _: _DTYPE_PRECISIONS[torch.float32],
            replaced="_DTYPE_PRECISIONS",
        ),
        LeftState(
            "node of trees",
            lambda _: register_pytree_node(Quiet, lambda _: ([], None), lambda *_: Quiet()),
            lambda _: Quiet in SUPPORTED_NODES,
            replaced="SUPPORTED_NODES",
        ),
        LeftState(
            "kernel of an operator",
            lambda _: give_kernel(),
            lambda _: torch.special.erfcx(torch.zeros(1)).item(),
            replaced="aten/special_erfcx/CPU",
        ),
        LeftState(
            "mock in torch",
            lambda _: setattr(torch.cuda, "left", mock.Mock()),
            lambda _: hasattr(torch.cuda, "left"),
            replaced="torch.cuda.left",
        ),
    )


with_tests(TorchLeft)

if __name__ == "__main__":
    run_tests()
