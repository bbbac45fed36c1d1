"""Sabotages of flattening and unflattening."""

from __future__ import annotations

import copy
from typing import Any

from torch.distributed.checkpoint import _nested_dict, default_planner

from checkpoint_sabotages.sabotage import Sabotage, replaced


def _visit(change: Any) -> Any:
    """Make a traversal that gives the visitor what `change` makes of each path and value."""

    def traverse(original: Any, state: Any, visitor: Any) -> None:
        original(state, lambda path, value: visitor(*change(path, value)))

    return lambda: replaced(_nested_dict, "traverse_state_dict", traverse)


def _first_of_a_name_wins(original: Any, state: Any, visitor: Any) -> None:
    seen = set()

    def visit(path: Any, value: Any) -> None:
        if (name := ".".join(map(str, path))) not in seen:
            seen.add(name)
            visitor(path, value)

    original(state, visit)


def _keep_a_cycle(original: Any, state: Any, visitor: Any) -> None:
    cycle: list[Any] = [state]
    cycle.append(cycle)
    original(state, visitor)


def _swap_first_two(original: Any, flat: Any, mapping: Any) -> Any:
    first, second, *_ = flat
    return original({**flat, first: flat[second], second: flat[first]}, mapping)


def _without_gaps(original: Any, root: Any, path: Any, value: Any) -> None:
    original(root, tuple(0 if isinstance(part, int) else part for part in path), value)


def _negate_numbers(original: Any, root: Any, path: Any, value: Any) -> None:
    original(root, path, -value if isinstance(value, int | float) else value)


def _forget_paths(original: Any, planner: Any, plans: Any) -> Any:
    plan, metadata = original(planner, plans)
    metadata.planner_data = {name: (name,) for name in metadata.planner_data}
    return plan, metadata


def _reverse(original: Any, state: Any, visitor: Any) -> None:
    leaves: list[Any] = []
    original(state, lambda path, value: leaves.append((path, value)))
    for path, value in reversed(leaves):
        visitor(path, value)


_DICTS = "NestedDictTest.test_dicts_become_dotted_names"
_LISTS = "NestedDictTest.test_a_list_is_flattened_where_it_holds_tensors_or_dicts"
_RANKS = "NestedCheckpointTest.test_nested_state_with_shards_survives_a_checkpoint"

SABOTAGES = [
    Sabotage(
        "leaves_are_copied", _DICTS, _visit(lambda path, value: (path, copy.copy(value))), "weight is not the object"
    ),
    Sabotage("order_is_lost", _DICTS, lambda: replaced(_nested_dict, "traverse_state_dict", _reverse), "at item "),
    Sabotage(
        "two_leaves_swapped",
        _DICTS,
        lambda: replaced(_nested_dict, "unflatten_state_dict", _swap_first_two),
        r"\['weight'\]: .* do not match",
    ),
    Sabotage(
        "places_in_lists_become_text", _LISTS, _visit(lambda path, value: (tuple(map(str, path)), value)), "0 != '0'"
    ),
    Sabotage(
        "tuples_are_made_lists",
        "NestedDictTest.test_other_values_are_leaves",
        _visit(lambda path, value: (path, list(value) if isinstance(value, tuple) else value)),
        "pair is not the object",
    ),
    Sabotage(
        "keys_lose_their_last_part",
        "NestedDictTest.test_keys_become_text_and_mappings_dicts",
        _visit(lambda path, value: (path[:1], value)),
        "'0.1' != '0'",
    ),
    Sabotage(
        "second_path_of_a_name_is_dropped",
        "NestedDictTest.test_two_paths_of_one_name_are_refused",
        lambda: replaced(_nested_dict, "traverse_state_dict", _first_of_a_name_wins),
        "ValueError not raised",
    ),
    Sabotage(
        "gaps_are_closed",
        "NestedDictTest.test_a_part_is_restored_with_gaps_and_without_invented_keys",
        lambda: replaced(_nested_dict, "set_element", _without_gaps),
        "lengths: 3 and 1",
    ),
    Sabotage(
        "numbers_change_their_sign",
        "NestedDictTest.test_what_is_flattened_can_be_restored",
        lambda: replaced(_nested_dict, "set_element", _negate_numbers),
        "Scalars are not (equal|close)",
    ),
    Sabotage(
        "a_cycle_keeps_the_state",
        "NestedDictTest.test_tensors_are_freed_without_the_garbage_collector",
        lambda: replaced(_nested_dict, "traverse_state_dict", _keep_a_cycle),
        "still refers to the flattened tensor",
    ),
    Sabotage(
        "paths_are_not_saved",
        _RANKS,
        lambda: replaced(default_planner.DefaultSavePlanner, "create_global_plan", _forget_paths),
        r"\['model\.layers\.0\.weight'\]: .* lengths: 4 and 1",
    ),
    Sabotage(
        "a_loaded_number_is_changed",
        _RANKS,
        lambda: replaced(default_planner, "set_element", _negate_numbers),
        "Scalars are not equal",
    ),
]
