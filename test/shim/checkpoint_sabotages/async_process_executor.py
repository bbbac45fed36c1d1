"""Sabotages of asynchronous saves in a process of their own. Most start such a process, which takes seconds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch.distributed.checkpoint import staging
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from checkpoint_sabotages.sabotage import Sabotage, replaced


def _without_other_ranks() -> AbstractContextManager[Any]:
    from torch.distributed.checkpoint import _async_process_executor

    def broadcast(_: Any, self: Any, step: str, map_fun: Any) -> Any:
        return map_fun()

    return replaced(_async_process_executor._DistWrapper, "broadcast", broadcast)


def _swallow(*errors: type[BaseException]) -> Any:
    """Give a save that ends with one of these errors a result as any other."""

    def save(original: Any, self: Any, *args: Any, **options: Any) -> Any:
        try:
            return original(self, *args, **options)
        except errors:
            return Metadata({})

    def strike() -> AbstractContextManager[Any]:
        from torch.distributed.checkpoint import _async_process_executor

        return replaced(_async_process_executor._AsyncCheckpointProcess, "save", save)

    return strike


_UNTIL_IT_DIES = "AsyncProcessTest.test_one_process_saves_until_it_dies"

SABOTAGES = [
    Sabotage(
        "ranks_are_not_told_of_an_error",
        "AsyncProcessTest.test_a_store_without_an_address_is_refused",
        _without_other_ranks,
        "MASTER_ADDR",
    ),
    Sabotage(
        "nothing_is_staged",
        _UNTIL_IT_DIES,
        lambda: replaced(staging.DefaultStager, "stage", lambda _, self, state: state),
        "weight of first: .* elements differ",
    ),
    Sabotage("failures_are_swallowed", _UNTIL_IT_DIES, _swallow(CheckpointException), "None is not an instance of"),
    Sabotage("death_is_swallowed", _UNTIL_IT_DIES, _swallow(RuntimeError, OSError), "None is not an instance of"),
]
