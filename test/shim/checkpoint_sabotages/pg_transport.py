"""Sabotages of state that is sent over a process group."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import torch

from checkpoint_sabotages.sabotage import Sabotage, replaced


def _prepared(change: Any) -> Any:
    """Change what is sent: `change` gets the description of the state and the list of its tensors' bytes."""

    def prepare(original: Any, state: Any, **options: Any) -> Any:
        meta, tensors = original(state, **options)
        return meta, change(meta, tensors) or tensors

    def strike() -> AbstractContextManager[Any]:
        from torch.distributed.checkpoint import _pg_transport

        return replaced(_pg_transport, "_prepare_state_dict", prepare)

    return strike


def _described(**changed: Any) -> Any:
    """Describe each tensor otherwise than it is; a value can be a function of the description."""

    def change(meta: Any, _: Any) -> None:
        for at, leaf in enumerate(meta.non_tensor_leaves):
            if type(leaf).__name__ == "_TensorMeta":
                values = {name: value(leaf) if callable(value) else value for name, value in changed.items()}
                meta.non_tensor_leaves[at] = dataclasses.replace(leaf, **values)

    return _prepared(change)


def _double_numbers(meta: Any, _: Any) -> None:
    meta.non_tensor_leaves = [leaf * 2 if isinstance(leaf, float) else leaf for leaf in meta.non_tensor_leaves]


def _replicate(meta: Any, _: Any) -> None:
    from torch.distributed.tensor import Replicate

    (leaf,) = meta.non_tensor_leaves
    leaf.spec = type(leaf.spec)(leaf.spec.mesh, (Replicate(),), leaf.spec.tensor_meta)


def _shift_shards(meta: Any, _: Any) -> None:
    (leaf,) = meta.non_tensor_leaves
    for shard in leaf.local_shards_shard_metadata:
        shard.shard_offsets[0] += 1


def _into_new_memory() -> AbstractContextManager[Any]:
    from torch.distributed.checkpoint import _pg_transport

    def init(original: Any, self: Any, group: Any, timeout: Any, device: Any, state: Any = None) -> None:
        original(self, group, timeout, device)

    return replaced(_pg_transport.PGTransport, "__init__", init)


def _contiguous(leaf: Any) -> tuple[int, ...]:
    return torch.empty(leaf.shape, device="meta").stride()


def _zero_last(_: Any, tensors: Any) -> Any:
    return [*tensors[:-1], torch.zeros_like(tensors[-1])]


_NESTED = "PGTransportTest.test_nested_state_arrives_with_its_structure"

SABOTAGES = [
    Sabotage("strides_are_lost", _NESTED, _described(stride=_contiguous), r"state\.model\.transposed: .* differ"),
    Sabotage("views_start_elsewhere", _NESTED, _described(storage_offset=0), r"state\.model\.some_columns: .* differ"),
    Sabotage("numbers_are_changed", _NESTED, _prepared(_double_numbers), r"state\.optimizer\.0\.lr: "),
    Sabotage(
        "two_tensors_are_swapped",
        "PGTransportTest.test_each_dtype_arrives_bit_for_bit",
        _prepared(lambda _, tensors: [*tensors[:2], tensors[3], tensors[2], *tensors[4:]]),
        r"state\.torch\.float16: .* differ",
    ),
    Sabotage(
        "what_is_passed_on_is_empty",
        "PGTransportTest.test_what_has_arrived_can_be_passed_on",
        _prepared(lambda _, tensors: [torch.zeros_like(tensor) for tensor in tensors]),
        r"state\.model\.transposed: .* differ",
    ),
    Sabotage(
        "a_group_is_sent_zeros",
        "PGTransportTest.test_ranks_are_those_of_the_group",
        _prepared(_zero_last),
        r"state\.both\..*: .* differ",
    ),
    Sabotage(
        "own_memory_is_not_used",
        "PGTransportTest.test_in_place",
        _into_new_memory,
        "own rows: .* differ",
    ),
    Sabotage(
        "another_size_is_taken",
        "PGTransportTest.test_in_place_of_another_size_is_refused",
        _into_new_memory,
        "AssertionError not raised",
    ),
    Sabotage(
        "a_part_is_called_the_whole",
        "PGTransportTest.test_dtensor_arrives_as_the_senders_part_placement0",
        _prepared(_replicate),
        "placements: ",
    ),
    Sabotage(
        "a_replica_gets_zeros",
        "PGTransportTest.test_one_replica_is_healed_by_the_other",
        _prepared(_zero_last),
        "weight: .* differ",
    ),
    Sabotage(
        "shards_lie_elsewhere",
        "PGTransportTest.test_sharded_tensor_arrives_as_the_senders_shards",
        _prepared(_shift_shards),
        "offsets of the shard: ",
    ),
    Sabotage(
        "a_moment_of_the_optimizer_is_zero",
        "PGTransportTest.test_training_goes_on_as_in_the_sender",
        _prepared(_zero_last),
        r"2\.bias: .* differ",
    ),
]
