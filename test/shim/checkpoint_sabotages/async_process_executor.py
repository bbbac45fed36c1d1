"""Sabotages of asynchronous saves in a process of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from torch.distributed.checkpoint import staging
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from checkpoint_sabotages.forked_programs import forked_where_spawned
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


@contextlib.contextmanager
def _meet_elsewhere() -> Iterator[None]:
    """Ranks pass over the store that is there."""
    from torch.distributed.checkpoint import _async_process_executor

    def init(original: Any, info: Any, *args: Any) -> None:
        with mock.patch.dict(os.environ, DCP_USE_PREFIX_STORE="0"):
            original(info, *args)

    with forked_where_spawned(), replaced(_async_process_executor._ProcessGroupInitInfo, "__init__", init):
        yield


def _need_no_group() -> AbstractContextManager[Any]:
    from torch.distributed.checkpoint import _async_process_executor

    executor = _async_process_executor._ProcessBasedAsyncCheckpointExecutor
    return replaced(executor, "execute_save", lambda *args, **kwargs: Future())


def _with_processes(strike: Callable[[], AbstractContextManager[Any]]) -> Callable[[], AbstractContextManager[Any]]:
    """Have the processes of a sabotaged test forked from one that is not sabotaged, as those that are spawned are."""

    @contextlib.contextmanager
    def struck() -> Iterator[None]:
        with forked_where_spawned(), strike():
            yield

    return struck


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
        _with_processes(lambda: replaced(staging.DefaultStager, "stage", lambda _, self, state: state)),
        "weight of first: .* elements differ",
    ),
    Sabotage(
        "failures_are_swallowed",
        _UNTIL_IT_DIES,
        _with_processes(_swallow(CheckpointException)),
        "None is not an instance of",
    ),
    Sabotage(
        "death_is_swallowed",
        _UNTIL_IT_DIES,
        _with_processes(_swallow(RuntimeError, OSError)),
        "None is not an instance of",
    ),
    Sabotage(
        "the_processes_meet_elsewhere",
        "AsyncProcessTest.test_the_processes_meet_in_a_store_that_is_there_and_end_when_let_go",
        _meet_elsewhere,
        "the processes have not met in the store",
    ),
    Sabotage(
        "no_group_is_needed",
        "WithoutGroupTest.test_a_process_group_is_needed",
        _need_no_group,
        "ValueError not raised",
    ),
]
