"""Upstream's `two_tensor`: a tensor subclass that holds two tensors and does everything with both."""

from __future__ import annotations

from typing import Any

import torch
from torch._compile import _disable_dynamo
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map, tree_map_only

from torch_testing_shim._upstream.graft import served

__all__ = ["TwoTensor", "TwoTensorMode"]

__getattr__ = served(__name__)

Plain = torch.Tensor

#: What the two have to agree in.
SHARED = ("device", "dtype", "layout", "requires_grad", "shape")


class TwoTensor(torch.Tensor):
    """Two tensors, `a` and `b`, that act as one (upstream's `TwoTensor`, torch 2.13).

    Args:
        a, b: the tensors; they agree in shape, strides, offset, dtype, device, layout and in needing a gradient.
        outer_size, outer_stride: shape and strides of the outside; those of `a` by default.
        requires_grad: needs a gradient also where they do not.

    Raises:
        AssertionError: the tensors do not agree.
    """

    a: torch.Tensor
    b: torch.Tensor

    @staticmethod
    def __new__(
        cls: Any, a: Plain, b: Plain, outer_size: Any = None, outer_stride: Any = None, *, requires_grad: Any = None
    ) -> TwoTensor:
        for name in SHARED:
            if getattr(a, name) != getattr(b, name):
                raise AssertionError(f"the tensors differ in {name}: {getattr(a, name)} and {getattr(b, name)}")
        if (a.stride(), a.storage_offset()) != (b.stride(), b.storage_offset()):
            raise AssertionError("the tensors lie in their memory in different ways")
        outside: TwoTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            a.shape if outer_size is None else outer_size,
            strides=a.stride() if outer_stride is None else outer_stride,
            storage_offset=a.storage_offset(),
            dtype=a.dtype,
            layout=a.layout,
            device=a.device,
            requires_grad=bool(requires_grad) or a.requires_grad,
        )
        return outside

    @_disable_dynamo  # it is untraceable: the attributes of a tensor are set
    def __init__(
        self, a: Plain, b: Plain, outer_size: Any = None, outer_stride: Any = None, *, requires_grad: Any = None
    ) -> None:
        self.a, self.b = a, b

    def __repr__(self) -> str:  # type: ignore[override]
        return f"TwoTensor({self.a!r}, {self.b!r})"

    def get_elem_a(self) -> torch.Tensor:
        return self.a

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["a", "b"], None

    @staticmethod
    def __tensor_unflatten__(
        inner_tensors: dict[str, torch.Tensor], meta: None, outer_size: Any, outer_stride: Any
    ) -> TwoTensor:
        return TwoTensor(**inner_tensors, outer_size=outer_size, outer_stride=outer_stride)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Does `func` with both; what is no tensor in the result is taken to be the same for both."""
        kwargs = kwargs or {}
        first, second = (func(*_part(name, args), **_part(name, kwargs)) for name in ("a", "b"))
        both = tree_map(lambda a, b: cls(a, b) if isinstance(a, torch.Tensor) else a, first, second)
        if isinstance(func, torch._ops.HigherOrderOperator):
            return both
        aliased: Any = return_and_correct_aliasing  # untyped in torch
        return aliased(func, args, kwargs, both)


def _part(name: str, values: Any) -> Any:
    return tree_map_only(TwoTensor, lambda tensor: getattr(tensor, name), values)


class TwoTensorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context: tensors that are made are TwoTensors, of twice the same (upstream's `TwoTensorMode`, torch 2.13)."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        return TwoTensor(made, made.clone()) if _makes_tensors(func) else made


def _makes_tensors(func: Any) -> bool:
    import torch._subclasses.fake_tensor as fake

    asked: Any = fake
    answer: bool = asked._is_tensor_constructor(func)
    return answer
