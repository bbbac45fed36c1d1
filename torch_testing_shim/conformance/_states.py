"""Small states with known bits: whole, spread over ranks, or blank for a load; and a save and a load of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from torch_testing_shim.conformance._comparison import check_state, cut, flat_state
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

State = dict[str, Any]


def filled(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return a tensor in memory whose bytes are random, NaNs among them, and the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.Size(shape).numel()
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    bits = torch.randint(0, 256, (size * dtype.itemsize,), dtype=torch.uint8, generator=generator)
    return bits.view(dtype).reshape(shape)


def blank(whole: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same type and shape whose bytes are zero."""
    size = whole.numel() * whole.dtype.itemsize
    return torch.zeros(size, dtype=torch.uint8).view(whole.dtype).reshape(whole.shape)


def rank_mesh(device_type: str, ranks: int) -> DeviceMesh:
    """Return the one-dimensional mesh over all ranks of the default process group."""
    return init_device_mesh(device_type, (ranks,), mesh_dim_names=("shard",))


def placed(whole: torch.Tensor, mesh: DeviceMesh, placement: Placement, *, is_view: bool = False) -> DTensor:
    """Return a DTensor on a one-dimensional mesh; each rank takes its part from its own copy of the whole.

    Args:
        whole: the unsharded tensor, in memory.
        mesh: the mesh.
        placement: `Shard` or `Replicate`.
        is_view: the part stays a view of the whole, at an offset, as far as its layout allows.
    """
    is_cut = isinstance(placement, Shard)
    local = cut(whole, placement.dim, mesh.size(), mesh.get_local_rank()) if is_cut else whole  # type: ignore[attr-defined]
    local = local.contiguous() if is_view else local.clone(memory_format=torch.contiguous_format)
    local = local.to(mesh.device_type)
    return DTensor.from_local(
        local, mesh, [placement], run_check=False, shape=whole.shape, stride=whole.contiguous().stride()
    )


def whole_small_state(seed: int, *, is_blank: bool = False) -> State:
    """Return the unsharded small state: tensors of several types, two of one shape; zeros where it is blank."""
    state: State = {
        "weight": filled(torch.float32, (5, 4), seed),
        "twin": filled(torch.float32, (5, 4), seed + 1),
        "bias": filled(torch.bfloat16, (6,), seed + 2),
        "table": filled(torch.int64, (3, 2), seed + 3),
    }
    return {name: blank(value) for name, value in state.items()} if is_blank else state


def small_state(mesh: DeviceMesh, seed: int, *, is_blank: bool = False) -> State:
    """Return the small state of a seed as ranks of a mesh hold it: sharded, replicated and plain tensors.

    Args:
        mesh: one-dimensional mesh.
        seed: the seed.
        is_blank: with zeros in place of the values, for a load.
    """
    whole = whole_small_state(seed, is_blank=is_blank)
    return {
        "weight": placed(whole["weight"], mesh, Shard(0)),
        "twin": placed(whole["twin"], mesh, Shard(0)),
        "bias": placed(whole["bias"], mesh, Replicate()),
        "table": whole["table"].to(mesh.device_type),
    }


def check_small_state(state: State, seed: int) -> None:
    """Check this rank's part of the small state of a seed, for those of its keys that `state` has.

    Raises:
        MismatchError: a value differs.
    """
    whole = whole_small_state(seed)
    check_state(flat_state(state), {name: whole[name] for name in state})


def transfer(
    stage: Stage,
    storage: Storage,
    ranks: tuple[int, int],
    saved: Callable[[DeviceMesh], State],
    target: Callable[[DeviceMesh], State],
    reference: Mapping[str, Any],
) -> None:
    """Save a state on some ranks, load it on others, and compare with the whole.

    Args:
        stage: this rank's stage.
        storage: the storage.
        ranks: number of ranks that save, and that load.
        saved: makes the state to save.
        target: makes the state to load into.
        reference: dotted name -> unsharded value.

    Raises:
        RowFailedError: a step failed.
    """
    before, after = ranks
    path = stage.new_path()
    stage.phase(before, "save", lambda: storage.save(saved(rank_mesh(stage.device_type, before)), path))

    def load() -> State:
        state = target(rank_mesh(stage.device_type, after))
        storage.load(state, path)
        return state

    loaded = stage.phase(after, "load", load)
    stage.phase(after, "compare", lambda: check_state(flat_state(loaded), reference))
