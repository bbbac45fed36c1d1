"""The arguments of an operator as DTensors, in every sharding that they allow.

Imported where it is used and not by the face: `torch.distributed.tensor` takes half a second, which tests that make no
DTensor are not to pay.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["DTensorConverter", "check_against_full_tensors", "check_every_sharding"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class DTensorConverter:
    """Iterates over `(args, kwargs)` whose tensors are DTensors, one step for each combination of their placements
    (upstream's `DTensorConverter`, torch 2.13).

    Args:
        mesh: the device mesh, of one dimension.
        args: positional arguments of the operator; tensors may be nested in containers.
        kwargs: its keyword arguments.
        replicate_only: try no sharding.

    Attributes:
        hit: how many tensors were converted so far.
        miss: how many could not be, and were handed on as they are.
    """

    def __init__(
        self, mesh: DeviceMesh, args: tuple[object, ...], kwargs: dict[str, object], replicate_only: bool = False
    ) -> None:
        self.replicate_only = replicate_only
        self.mesh, self.args, self.kwargs = mesh, args, kwargs
        self.hit = self.miss = 0
        self._leaves, self._structure = tree_flatten((args, kwargs))
        choices = [self.gen_sharding_choices_for_arg(leaf) for leaf in self._leaves if isinstance(leaf, torch.Tensor)]
        self._combinations = itertools.product(*choices)

    def successful(self) -> bool:
        """True where something was converted, and everything that was to be."""
        return self.hit > 0 and self.miss == 0

    def is_supported_tensor(self, t: torch.Tensor) -> bool:
        """False for tensors of which there is no DTensor: sparse, quantized, nested, lazy and the like."""
        is_plain = t.layout is torch.strided and t.device.type not in ("lazy", "meta")
        is_special = t.is_quantized or t.is_nested or t.is_neg() or t.is_conj() or torch._is_functional_tensor(t)
        return is_plain and not is_special

    def gen_sharding_choices_for_arg(self, arg: torch.Tensor) -> Sequence[Placement]:
        """Replicated, and sharded along each dimension that divides evenly. Collectives take no bool tensors, so those
        are only replicated."""
        if self.replicate_only or arg.dtype is torch.bool:
            return [Replicate()]
        ranks = self.mesh.size()
        return [Replicate(), *(Shard(dim) for dim, size in enumerate(arg.shape) if size > 1 and size % ranks == 0)]

    def __iter__(self) -> DTensorConverter:
        return self

    def __next__(self) -> Arguments:
        placements = iter(next(self._combinations))
        leaves = [
            self.to_dist_tensor(leaf, self.mesh, [next(placements)]) if isinstance(leaf, torch.Tensor) else leaf
            for leaf in self._leaves
        ]
        arguments: Arguments = tree_unflatten(leaves, self._structure)
        return arguments

    def to_dist_tensor(self, t: torch.Tensor, mesh: DeviceMesh, placements: list[Placement]) -> torch.Tensor:
        """The tensor as a DTensor; as it is, and counted as a miss, where it is a subclass or not supported. A tensor
        without dimensions is replicated."""
        if type(t) not in (torch.Tensor, torch.nn.Parameter) or not self.is_supported_tensor(t):
            self.miss += 1
            return t
        self.hit += 1
        distributed = distribute_tensor(t, mesh, placements if t.ndim else [Replicate()] * mesh.ndim)
        if isinstance(t, torch.nn.Parameter):
            return torch.nn.Parameter(distributed, requires_grad=t.requires_grad)
        return distributed


def check_every_sharding(
    test_case: Any, mesh: DeviceMesh, op_call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Checks that an operator gives the same result for every sharding of its arguments as for the plain tensors."""
    expected = op_call(*args, **kwargs)
    converter = DTensorConverter(mesh, args, kwargs)
    for sharded_args, sharded_kwargs in converter:
        test_case.assertTrue(converter.successful(), "an argument cannot be made a DTensor")
        test_case.assertEqual(op_call(*sharded_args, **sharded_kwargs).full_tensor(), expected)


def check_against_full_tensors(
    test_case: Any, op_call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Checks that an operator gives the same result for the DTensors given as for their full tensors."""

    def full(value: Any) -> Any:
        return value.full_tensor().detach().clone() if isinstance(value, DTensor) else value

    full_args, full_kwargs = tree_map(full, (args, kwargs))
    expected, _ = tree_flatten(op_call(*full_args, **full_kwargs))
    results, _ = tree_flatten(op_call(*args, **kwargs))
    test_case.assertEqual([result.full_tensor() for result in results], expected)
