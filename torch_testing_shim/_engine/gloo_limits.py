"""Makes up for what gloo lacks where it stands for another backend: ranks share devices, or devices are mapped to the
CPU.

| missing in gloo | stands for it |
| --- | --- |
| `all_to_all` and `all_gather` of lists whose sizes differ | a message from each rank to each |
| float8 | the same collective in float32, which holds every float8; not reductions with torch 2.6 |
| a sum of values that are multiplied before (PREMUL_SUM) | a multiplication, and then a plain sum |
| `isend` and `irecv` within one rank | a queue in the rank |
| a gathered or scattered tensor of another shape with as many elements | the same memory as one row |
| an average of integers, but by the functional `reduce_scatter_tensor` | an average of float64, cut off |

Kernels take the place of gloo's own in torch's dispatcher, so that functional collectives and C++ use them, too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from torch_testing_shim._engine.collective_works import (
    CopyingWork,
    OwnMessages,
    call_on_copies,
    cpu_backend,
    replace_kernels,
)

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_WIDENED = frozenset(dtype for name, dtype in vars(torch).items() if name.startswith("float8"))
#: Functions of torch.distributed that take a reduction.
_REDUCING = (
    "all_reduce",
    "all_reduce_coalesced",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
)
#: Operators of `c10d`, each with the method of a backend that carries it out, and that method's options.
_METHODS = {
    "allreduce_": ("allreduce", "AllreduceOptions"),
    "allreduce_coalesced_": ("allreduce_coalesced", "AllreduceCoalescedOptions"),
    "reduce_": ("reduce", "ReduceOptions"),
    "broadcast_": ("broadcast", "BroadcastOptions"),
    "allgather_": ("allgather", "AllgatherOptions"),
    "_allgather_base_": ("_allgather_base", "AllgatherOptions"),
    "gather_": ("gather", "GatherOptions"),
    "scatter_": ("scatter", "ScatterOptions"),
    "reduce_scatter_": ("reduce_scatter", "ReduceScatterOptions"),
    "_reduce_scatter_base_": ("_reduce_scatter_base", "ReduceScatterOptions"),
    "alltoall_base_": ("alltoall_base", "AllToAllOptions"),
}
#: Arguments of operators, and their names among the options.
_OPTIONS = {
    "reduce_op": "reduceOp",
    "root_rank": "rootRank",
    "root_tensor": "rootTensor",
    "async_op": "asyncOp",
    "asyncOp": "asyncOp",
    "timeout": "timeout",
}
#: Those of them whose tensors need only have the right number of elements.
_OF_ANY_SHAPE = frozenset({"_allgather_base_", "_reduce_scatter_base_"})
#: The tag of messages that are part of a collective; no test uses it.
_EXCHANGE_TAG = 2**30

_Kernel = Callable[..., Any]


@functools.cache
def make_up_for_gloo() -> None:
    """Make collectives of CPU tensors do what gloo cannot, for the rest of this process."""
    for name in _REDUCING:
        if hasattr(dist, name):
            _multiply_before(name)
    gloo = {name: _kernel(name, *method) for name, method in _METHODS.items()}
    messages, exchange = OwnMessages(), _Exchange(gloo["allgather_"])
    kernels = {**gloo, "alltoall_": exchange.all_to_all, "allgather_": exchange.all_gather}
    kernels = {name: functools.partial(_widened, kernel) for name, kernel in kernels.items() if _can_replace(name)}
    kernels |= {"send": messages.send, "recv_": messages.receive}
    replace_kernels(kernels, "CPU")


def _can_replace(name: str) -> bool:
    """Whether a kernel in Python learns all that it has to do: torch 2.6 does not tell it the reduction."""
    arguments = getattr(torch.ops.c10d, name).default._schema.arguments
    is_reducing = any(_OPTIONS.get(argument.name) == "reduceOp" for argument in arguments)
    return not is_reducing or hasattr(torch.classes.c10d.ReduceOp(), "op")


def _kernel(name: str, method: str, options: str) -> _Kernel:
    """Make a kernel that carries out an operator as torch does, by the group's own backend for the CPU.

    Torch's own kernel, called from Python, would keep Python's lock while it waits for gloo's, whose holder may want
    Python's.
    """
    schema = getattr(torch.ops.c10d, name).default._schema
    arguments = [(argument.name, argument.default_value) for argument in schema.arguments]
    first = [argument for argument, _ in arguments].index("process_group")
    is_base = name in _OF_ANY_SHAPE

    def call(*args: Any) -> Any:
        values = [*args, *(default for _, default in arguments[len(args) :])]  # torch leaves out defaults
        tensors = [value.view(-1) if _is_in_one_row(value) else value for value in values[:first]] if is_base else args
        given = getattr(distributed_c10d, options)()
        others = []
        for (argument, _), value in zip(arguments[first + 1 :], values[first + 1 :], strict=True):
            if argument in _OPTIONS:
                _set_option(given, _OPTIONS[argument], value)
            elif argument != "sparse_indices":
                others.append(value)
        work = getattr(cpu_backend(values[first]), method)(*tensors[:first], *others, given).boxed()
        return (values[0], work) if len(schema.returns) > 1 else work

    return call


def _set_option(options: Any, name: str, value: Any) -> None:
    if name == "reduceOp":
        value = dist.ReduceOp(dist.ReduceOp.RedOpType(value.op()))
    if name == "timeout":
        if value < 0:
            return
        value = timedelta(milliseconds=value)
    setattr(options, name, value)


def _is_in_one_row(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_contiguous()


def _widened(kernel: _Kernel, *args: Any) -> Any:
    """Call a kernel on float32 copies of float8 tensors, and on float64 copies of integers that it averages."""
    is_average = any(isinstance(arg, torch.ScriptObject) and _is_average(arg) for arg in args)
    return call_on_copies(kernel, functools.partial(_widen, is_average=is_average), args, {})


def _is_average(argument: torch.ScriptObject) -> bool:
    return hasattr(argument, "op") and argument.op() == dist.ReduceOp.AVG.value


def _widen(tensor: torch.Tensor, is_average: bool) -> torch.Tensor | None:
    if tensor.dtype in _WIDENED:
        return tensor.float()
    return tensor.double() if is_average and not (tensor.is_floating_point() or tensor.is_complex()) else None


class _Exchange:
    """Sends tensors from each rank to each, whose sizes may differ.

    It does not use gloo's own exchange of uneven sizes, which now and then aborts or hangs (torch 2.13 and 2.14).
    """

    def __init__(self, gather: _Kernel) -> None:
        self._gather = gather

    def all_to_all(self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], group: Any, *rest: Any) -> Any:
        """Exchanges messages even where this rank's sizes are alike: ranks do not see each other's sizes."""
        backend, own = cpu_backend(group), dist.ProcessGroup.unbox(group).rank()
        copies = [(output, torch.empty_like(output, memory_format=torch.contiguous_format)) for output in outputs]
        works: list[dist.Work] = []
        for peer, (sent, (_, received)) in enumerate(zip(inputs, copies, strict=True)):
            if peer == own:
                received.copy_(sent.view_as(received))
            else:
                works += [backend.recv([received], peer, _EXCHANGE_TAG)] if received.numel() else []
                works += [backend.send([sent.contiguous()], peer, _EXCHANGE_TAG)] if sent.numel() else []
        return outputs, CopyingWork(works, copies).boxed()

    def all_gather(self, outputs: list[Any], inputs: list[torch.Tensor], group: Any, *rest: Any) -> Any:
        if len(outputs) != 1 or len({tensor.numel() for tensor in outputs[0]}) == 1:  # all ranks see the same sizes
            return self._gather(outputs, inputs, group, *rest)
        return outputs, self.all_to_all(outputs[0], inputs * len(outputs[0]), group)[1]


def _multiply_before(name: str) -> None:
    """Make a function of torch.distributed multiply by itself where its reduction is PREMUL_SUM."""
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
