"""Parameters and state dicts of test models: read, cleared, sent from rank to rank, compared."""

from __future__ import annotations

import contextlib
import copy
import unittest
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from torch_testing_shim._fsdp.fsdp_device import device_type, fsdp_unit

__all__ = [
    "_assert_module_states",
    "_broadcast_state_dict",
    "_get_state_dict",
    "_maybe_wrap_fsdp",
    "_zero_model",
    "check_sharded_parity",
    "get_full_params",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def _assert_module_states(model: nn.Module, process_group: dist.ProcessGroup, assert_fn: Callable[..., object]) -> None:
    """Calls `assert_fn` with each parameter and buffer of rank 0 and its counterpart of every other rank, on the CPU
    (upstream's name, torch 2.13).

    Raises:
        ValueError: the ranks have different numbers of them.
    """
    own = [tensor.detach().cpu() for tensor in (*model.parameters(), *model.buffers())]
    of_ranks: list[Any] = [None] * dist.get_world_size(process_group)
    dist.all_gather_object(of_ranks, own, group=process_group)
    for others in of_ranks[1:]:
        for first, other in zip(of_ranks[0], others, strict=True):
            assert_fn(first, other)


@torch.no_grad()
def _zero_model(model: nn.Module, zero_buffers: bool = False, summon_full: bool = True) -> None:
    """Sets the parameters to zero, and the buffers if wanted (upstream's name, torch 2.13).

    Args:
        summon_full: the model is FSDP's, and its parameters are gathered for it.
    """
    with FSDP.summon_full_params(model) if summon_full else contextlib.nullcontext():
        for tensor in (*model.parameters(), *(model.buffers() if zero_buffers else ())):
            tensor.zero_()


def _get_state_dict(model: nn.Module, cpu_offload: bool = False, half: bool = False) -> dict[str, Any]:
    """The model's state dict, after the model was moved to the device in use, unless `cpu_offload`, and to float16, if
    `half` (upstream's name, torch 2.13)."""
    placed = model if cpu_offload else model.to(device_type())
    return (placed.half() if half else placed).state_dict()


def _broadcast_state_dict(rank: int, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rank 0's state dict, on every rank, its tensors on the device in use (upstream's name, torch 2.13)."""
    sent = [{name: tensor.cpu() for name, tensor in state_dict.items()} if rank == 0 else {}]
    dist.broadcast_object_list(sent)
    return {name: tensor.to(device_type()) for name, tensor in sent[0].items()}


def get_full_params(model: nn.Module, recurse: bool = True) -> list[nn.Parameter]:
    """Copies of the whole parameters of a model of FSDP (upstream's `get_full_params`, torch 2.13).

    Args:
        recurse: also those of modules inside of it.
    """
    with FSDP.summon_full_params(model, recurse=recurse):
        return copy.deepcopy(list(model.parameters()))


def _maybe_wrap_fsdp(model: nn.Module, wrap_fsdp: bool, *args: Any, **kwargs: Any) -> nn.Module:
    """The model, wrapped by FSDP with the arguments if `wrap_fsdp` (upstream's name, torch 2.13)."""
    return fsdp_unit(model, *args, **kwargs) if wrap_fsdp else model


def check_sharded_parity(
    cls: unittest.TestCase,
    replicated_module: nn.Module,
    sharded_module: nn.Module,
    prefixes_to_ignore: tuple[str, ...] = (),
) -> None:
    """Fails unless a module of `fully_shard` has the parameters and gradients of a plain one, shard by shard
    (upstream's `check_sharded_parity`, torch 2.13).

    Args:
        cls: the test case.
        replicated_module: the plain module, the same on all ranks.
        sharded_module: its parameters are DTensors.
        prefixes_to_ignore: left out of the names of the sharded module's parameters.

    Raises:
        AssertionError: they differ, or a parameter is sharded twice over dimension 0, which cannot be compared.
        ValueError: they have different numbers of parameters.
    """
    pairs = zip(replicated_module.named_parameters(), sharded_module.named_parameters(), strict=True)
    for (name, replicated), (sharded_name, sharded) in pairs:
        for prefix in prefixes_to_ignore:
            sharded_name = sharded_name.replace(prefix, "")
        cls.assertEqual(name, sharded_name)
        _check_shard(cls, name, replicated, sharded)
        if replicated.grad is None:
            cls.assertIsNone(sharded.grad, f"{name} has a gradient")
        else:
            _check_shard(cls, f"the gradient of {name}", replicated.grad, sharded.grad)


def _check_shard(case: unittest.TestCase, what: str, replicated: torch.Tensor, sharded: Any) -> None:
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    case.assertIsInstance(sharded, DTensor, f"{what} is no DTensor")
    if tuple(sharded.placements) == (Shard(0), Shard(0)):
        raise AssertionError(
            f"{what} is sharded twice over dimension 0; FSDP lays such shards out in another order than "
            "distribute_tensor, so they cannot be compared"
        )
    expected = distribute_tensor(replicated.detach(), sharded.device_mesh, sharded.placements)
    case.assertEqual(sharded.to_local(), expected.to_local(), lambda text: f"{what}: {text}")
