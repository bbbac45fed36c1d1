"""One tensor in the layouts that checkpoints know, each made of the tensor by slices or by torch's own distribution."""

import torch
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec import ChunkShardingSpec, EnumerableShardingSpec
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

__all__ = ["layouts_of", "parts_of", "place_of"]


def place_of(rank, device_type):
    """Return a rank and its device, as sharding specs name them. Ranks may share a device."""
    count = 0 if device_type == "cpu" else torch.accelerator.device_count()
    return f"rank:{rank}/{device_type}:{rank % count}" if count else f"rank:{rank}/cpu"


def layouts_of(full, device_type):
    """Return what this rank, one of four, has of a tensor of two dimensions, by layout.

    Each rank has a shard of each ShardedTensor: torch 2.13 asks a rank without one for its CUDA device.

    Args:
        full: the tensor, on the CPU, of 10 rows and 8 columns.
        device_type: where the parts are made.
    """
    here, line = full.to(device_type), init_device_mesh(device_type, (4,))
    square, pair = init_device_mesh(device_type, (2, 2)), DeviceMesh(device_type, [1, 3])
    specs = {
        "rows": _chunks(0, range(4), device_type),
        "rows in another order": _chunks(0, [3, 2, 1, 0, 3], device_type),
        "columns": _chunks(1, [1, 0, 3, 2], device_type),
        "grid": _grid(full.shape, device_type),
    }
    placements = {
        "DTensor by rows": (line, [Shard(0)]),
        "DTensor by columns": (line, [Shard(1)]),
        "DTensor replicated": (line, [Replicate()]),
        "DTensor on a square": (square, [Shard(1), Shard(0)]),
        "DTensor in columns of ranks": (square, [Replicate(), Shard(0)]),
        "DTensor on two ranks": (pair, [Shard(0)]),
    }
    return {
        "plain": here.clone(),
        **{name: _of_spec(full, spec) for name, spec in specs.items()},
        **{name: distribute_tensor(here.clone(), *where) for name, where in placements.items()},
    }


def parts_of(tensor):
    """Return the tensors that this rank has of one in any layout."""
    if isinstance(tensor, sharded_tensor.ShardedTensor):
        return [shard.tensor for shard in tensor.local_shards()]
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor]


def _chunks(dim, ranks, device_type):
    return ChunkShardingSpec(dim, [place_of(rank, device_type) for rank in ranks])


def _grid(shape, device_type):
    """Return four boxes of different sizes, which the ranks have in reverse order."""
    rows, columns = shape
    boxes = [
        ([row, column], [height, width])
        for row, height in ((0, 3), (3, rows - 3))
        for column, width in ((0, 4), (4, columns - 4))
    ]
    places = [place_of(rank, device_type) for rank in (3, 2, 1, 0)]
    return EnumerableShardingSpec([ShardMetadata(*box, place) for box, place in zip(boxes, places, strict=True)])


def _of_spec(full, spec):
    """Return a ShardedTensor whose shards are cut out of a tensor."""
    made = sharded_tensor.empty(spec, *full.shape)
    for shard in made.local_shards():
        edges = zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
        shard.tensor.copy_(full[tuple(slice(start, start + size) for start, size in edges)])
    return made
