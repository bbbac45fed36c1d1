"""The table of strategies: how a model is spread over the ranks of the default process group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from torch_testing_shim.conformance._model import Branches

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # torch 2.4 and 2.5 have it elsewhere
    fully_shard = None  # type: ignore[assignment]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class Strategy:
    """One way to spread a model over ranks.

    Attributes:
        name: its name in reports.
        build: spreads a model over all ranks of the default process group; takes the model, the number of ranks and
            the device's type, and returns the model to train.
        divisor: the number of ranks has to be a multiple of it.
        missing: what this torch lacks for it; None where it lacks nothing.
        records_events: it records events in the device's streams, which torch 2.6 has none of on the CPU.
        frees_storages: it resizes storages, which a device that is written in Python cannot.
    """

    name: str
    build: Callable[[Branches, int, str], nn.Module]
    divisor: int = 1
    missing: str | None = None
    records_events: bool = False
    frees_storages: bool = False

    def why_not(self, ranks: int, device_type: str) -> str | None:
        """Return why it cannot be had on so many ranks of a device; None where it can."""
        if self.missing is not None:
            return self.missing
        if self.records_events and not hasattr(torch.get_device_module(device_type).Stream, "record_event"):
            return f"torch {torch.__version__} has no events in streams of the {device_type}, which {self.name} records"
        if self.frees_storages and not _can_free_storages(device_type):
            return f"a storage on the {device_type} cannot be resized, as {self.name} does it"
        return f"{self.name} needs a multiple of {self.divisor} ranks" if ranks % self.divisor else None


def _can_free_storages(device_type: str) -> bool:
    try:
        torch.empty(1, device=device_type).untyped_storage().resize_(0)
    except NotImplementedError:
        return False
    return True


def _replicated(model: Branches, ranks: int, device_type: str) -> nn.Module:
    return model


def _ddp(model: Branches, ranks: int, device_type: str) -> nn.Module:
    return DistributedDataParallel(model)


def _fsdp1(model: Branches, ranks: int, device_type: str) -> nn.Module:
    # without an accelerator, FSDP has to be told that the CPU is meant
    device = torch.device("cpu") if device_type == "cpu" else torch.accelerator.current_accelerator()
    policy = ModuleWrapPolicy({nn.Linear})
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=device, use_orig_params=True)


def _fsdp2(model: Branches, ranks: int, device_type: str) -> nn.Module:
    mesh = init_device_mesh(device_type, (ranks,), mesh_dim_names=("shard",))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _hsdp(model: Branches, ranks: int, device_type: str) -> nn.Module:
    mesh = init_device_mesh(device_type, (2, ranks // 2), mesh_dim_names=("replicate", "shard"))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _tensor_parallel_plan() -> dict[str, ParallelStyle]:
    columns = ColwiseParallel(output_layouts=Replicate())
    rows = RowwiseParallel(input_layouts=Replicate())
    return {"even": columns, "twin": columns, "uneven": rows, "short": rows}


def _tp(model: Branches, ranks: int, device_type: str) -> nn.Module:
    mesh = init_device_mesh(device_type, (ranks,), mesh_dim_names=("tensor",))
    return parallelize_module(model, mesh, _tensor_parallel_plan())


def _tp_fsdp2(model: Branches, ranks: int, device_type: str) -> nn.Module:
    mesh = init_device_mesh(device_type, (ranks // 2, 2), mesh_dim_names=("shard", "tensor"))
    parallelize_module(model, mesh["tensor"], _tensor_parallel_plan())
    for layer in model.layers:
        fully_shard(layer, mesh=mesh["shard"])
    fully_shard(model, mesh=mesh["shard"])
    return model


_NO_FSDP2 = None if fully_shard is not None else f"torch {torch.__version__} has no torch.distributed.fsdp.fully_shard"

STRATEGIES = (
    Strategy("replicated", _replicated),
    Strategy("DDP", _ddp),
    Strategy("FSDP1", _fsdp1, frees_storages=True),
    Strategy("FSDP2", _fsdp2, missing=_NO_FSDP2, records_events=True, frees_storages=True),
    Strategy("HSDP", _hsdp, divisor=2, missing=_NO_FSDP2, records_events=True, frees_storages=True),
    Strategy("TP", _tp),
    Strategy("TP + FSDP2", _tp_fsdp2, divisor=2, missing=_NO_FSDP2, records_events=True, frees_storages=True),
)
