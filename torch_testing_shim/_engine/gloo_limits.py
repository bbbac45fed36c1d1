"""What other backends can and gloo cannot, made of what gloo can. For runs in which gloo stands for another backend:
ranks that share devices, and devices that are mapped to the CPU.

| another backend | gloo |
| --- | --- |
| `all_to_all` and `all_gather` of lists whose sizes differ | one `all_to_all_single` of all tensors in a row |
| float8 | the same collective in float32, which holds every float8 |
| a sum of values that are multiplied before (PREMUL_SUM) | they are multiplied before a plain sum |
| `isend` and `irecv` within one rank | a queue in the rank |

Kernels take the place of gloo's own in torch's dispatcher, so functional collectives and C++ have them, too.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from torch_testing_shim._engine.collective_copies import CopyingWork, call_on_copies
from torch_testing_shim._engine.collective_operators import OPERATORS
from torch_testing_shim._engine.own_messages import OwnMessages

__all__ = ["make_up_for_gloo"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_WIDENED = frozenset(dtype for name, dtype in vars(torch).items() if name.startswith("float8"))
_WITHOUT_TENSORS = ("barrier", "monitored_barrier_")
_FROM_ONE_TO_ONE = ("send", "recv_")
#: Functions of torch.distributed that take a reduction.
_REDUCING = (
    "all_reduce",
    "all_reduce_coalesced",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
)
#: The registrations last as long as these live.
_LIBRARIES: list[Any] = []

Kernel = Callable[..., Any]


@functools.cache
def make_up_for_gloo() -> None:
    """Has collectives of CPU tensors do what gloo cannot, for the rest of this process."""
    for name in _REDUCING:
        if hasattr(dist, name):
            _multiply_before(name)
    if not hasattr(torch.library, "get_kernel"):  # older than torch 2.9: gloo says itself what it cannot do
        return
    names = [name for name in (*OPERATORS, *_FROM_ONE_TO_ONE) if name not in _WITHOUT_TENSORS]
    gloo = {name: _kernel_of(name) for name in names if hasattr(torch.ops.c10d, name)}
    messages = OwnMessages(gloo["send"], gloo["recv_"])
    kernels: dict[str, Kernel] = {name: functools.partial(_widened, kernel) for name, kernel in gloo.items()}
    kernels["alltoall_"] = functools.partial(_widened, functools.partial(_all_to_all, gloo["alltoall_base_"]))
    all_gather = functools.partial(_all_gather, gloo["allgather_"], gloo["alltoall_base_"])
    kernels["allgather_"] = functools.partial(_widened, all_gather)
    kernels.update({"send": messages.send, "recv_": messages.receive})
    make_library: Any = torch.library.Library  # untyped in torch
    library = make_library("c10d", "IMPL")
    _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own kernels are replaced, of which it warns
        for name, kernel in kernels.items():
            library.impl(name, kernel, "CPU")


def _kernel_of(name: str) -> Kernel:
    get_kernel: Any = torch.library.get_kernel
    kernel = get_kernel(getattr(torch.ops.c10d, name).default, "CPU")
    return functools.partial(kernel.call_boxed, torch._C.DispatchKeySet(torch._C.DispatchKey.CPU))


def _widened(kernel: Kernel, *args: Any, **kwargs: Any) -> Any:
    """Calls a kernel on float32 copies of what is float8."""
    return call_on_copies(kernel, _widen, args, kwargs)


def _widen(tensor: torch.Tensor) -> torch.Tensor | None:
    return tensor.float() if tensor.dtype in _WIDENED else None


def _all_to_all(exchange: Kernel, outputs: list[Any], inputs: list[Any], group: Any, *rest: Any) -> Any:
    """Ranks do not see each other's sizes, so all take this way, even where their own sizes are alike."""
    return outputs, _exchange(exchange, outputs, inputs, group, *rest)


def _all_gather(gather: Kernel, exchange: Kernel, outputs: list[Any], inputs: list[Any], group: Any, *rest: Any) -> Any:
    if len(outputs) != 1 or len({tensor.numel() for tensor in outputs[0]}) == 1:  # which all ranks see alike
        return gather(outputs, inputs, group, *rest)
    return outputs, _exchange(exchange, outputs[0], inputs * len(outputs[0]), group, *rest)


def _exchange(exchange: Kernel, outputs: list[Any], inputs: list[Any], group: Any, *rest: Any) -> Any:
    """Sends the i-th input to rank i, and receives the i-th output from it; returns the boxed work."""
    sent = torch.cat([tensor.reshape(-1) for tensor in inputs])
    sizes, sizes_sent = ([tensor.numel() for tensor in tensors] for tensors in (outputs, inputs))
    received = sent.new_empty(sum(sizes))
    work = exchange(received, sent, group, sizes, sizes_sent, *rest)
    parts = [part.view(own.shape) for own, part in zip(outputs, torch.split(received, sizes), strict=True)]
    return CopyingWork(dist.Work.unbox(work), list(zip(outputs, parts, strict=True))).boxed()


def _multiply_before(name: str) -> None:
    """Has a function of torch.distributed multiply by itself where its reduction is to."""
    function = getattr(dist, name)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def reduce(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        if given.get("op") == dist.ReduceOp.PREMUL_SUM:
            factor = given["op"].__getstate__()[1]
            given["op"] = dist.ReduceOp.SUM
            whole = next((each for each in ("input", "input_list") if each in given), None)
            if whole is None:  # in place
                _mapped(lambda tensor: tensor.mul_(factor), given.get("tensors", given.get("tensor")))
            else:
                given[whole] = _mapped(lambda tensor: tensor * factor, given[whole])
        return function(*bound.args, **bound.kwargs)

    for owner in (dist, distributed_c10d):
        if getattr(owner, name, None) is function:
            setattr(owner, name, reduce)


def _mapped(change: Callable[[torch.Tensor], torch.Tensor], tensors: Any) -> Any:
    return change(tensors) if isinstance(tensors, torch.Tensor) else [change(tensor) for tensor in tensors]
