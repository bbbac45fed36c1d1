"""Inputs and models for tests of collectives and of mixed precision; `common_distributed` has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

__all__ = ["SaveForwardInputsModel", "SaveForwardInputsModule", "simple_sparse_reduce_tests"]

#: Sparse and dense dimensions of the inputs.
_SPARSITIES = ((1, 0), (2, 0), (3, 0), (1, 1), (1, 2), (1, 3))
_FEATURES = 100


def simple_sparse_reduce_tests(
    rank: int, world_size: int, num_inputs: int = 1
) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Inputs of a sum over sparse tensors, and what it comes to (upstream's name, torch 2.13).

    Args:
        rank: this rank.
        world_size: number of ranks.
        num_inputs: how many tensors each rank has.

    Returns:
        Pairs of this rank's inputs and of the outputs that are expected, one output for each input: the sum of all
        inputs of all ranks. There is a pair for each of 1 to 3 sparse dimensions of size `world_size * num_inputs`, and
        of 1 to 3 dense dimensions of size 2. Any two tensors have entries in common.
    """
    total = num_inputs * world_size

    def case(make: Callable[[int], torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        whole = make(0)
        for number in range(1, total):
            whole = whole + make(number)
        return [make(num_inputs * rank + position) for position in range(num_inputs)], [whole] * num_inputs

    return [case(lambda number, shape=shape: _sparse(number + 1, total, *shape)) for shape in _SPARSITIES]  # type: ignore[misc]


def _sparse(entries: int, size: int, sparse_dims: int, dense_dims: int) -> torch.Tensor:
    """A tensor of ones along the first sparse dimension, at 0 in the others."""
    indices = torch.zeros(sparse_dims, entries, dtype=torch.int64)
    indices[0] = torch.arange(entries)
    dense: Sequence[int] = [2] * dense_dims
    return torch.sparse_coo_tensor(indices, torch.ones(entries, *dense), [*[size] * sparse_dims, *dense])


class SaveForwardInputsModule(nn.Module):
    """A linear layer of 100 features that notes what it is called with (upstream's name, torch 2.13).

    Args:
        forward_inputs: takes the input, by module.
        cast_forward_inputs: the input is converted to the weight's type first.
    """

    def __init__(self, forward_inputs: dict[nn.Module, torch.Tensor], cast_forward_inputs: bool) -> None:
        super().__init__()
        self.forward_inputs, self.cast_forward_inputs = forward_inputs, cast_forward_inputs
        self.l = nn.Linear(_FEATURES, _FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forward_inputs[self] = x
        given = x.to(self.l.weight.dtype) if self.cast_forward_inputs else x
        output: torch.Tensor = self.l(given)
        return output


class SaveForwardInputsModel(nn.Module):
    """Two such layers, `c1` and `c2`, one after the other; notes its own input, too (upstream's name, torch 2.13)."""

    def __init__(self, forward_inputs: dict[nn.Module, torch.Tensor], cast_forward_inputs: bool) -> None:
        super().__init__()
        self.forward_inputs = forward_inputs
        self.c1, self.c2 = (SaveForwardInputsModule(forward_inputs, cast_forward_inputs) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forward_inputs[self] = x
        output: torch.Tensor = self.c2(self.c1(x))
        return output
