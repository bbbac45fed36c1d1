"""State that tests leave in torch: settings, modes, hooks, caches, and functions that they patched and forgot."""

import ctypes
import datetime
import sys
from unittest import mock

import torch
import torch.distributed as dist
from left_state import LeftState, LeftStateTestCase, with_tests
from torch.overrides import TorchFunctionMode
from torch.testing._comparison import _DTYPE_PRECISIONS
from torch.utils._pytree import SUPPORTED_NODES, register_pytree_node

from torch_testing_shim.common_utils import run_tests


class Quiet(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def fake(*arguments: object, **named: object) -> str:
    return "fake"


def shown(function: object) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


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
        LeftState("random numbers drawn", lambda _: torch.rand(3), lambda _: rank_state()),
        LeftState(
            "hooks of saved tensors",
            lambda _: enter(torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x + 1)),
            lambda _: (torch.ones(1, requires_grad=True) ** 2).grad_fn._saved_self.item(),
        ),
        LeftState(
            "functionalization",
            lambda _: torch._enable_functionalization(reapply_views=True),
            lambda _: torch._C._dispatch_tls_is_dispatch_key_included("Functionalize"),
        ),
        LeftState(
            "timeout of process groups",
            lambda _: setattr(dist.distributed_c10d, "default_pg_timeout", datetime.timedelta(1)),
            lambda _: dist.distributed_c10d.default_pg_timeout,
            replaced="default_pg_timeout",
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
