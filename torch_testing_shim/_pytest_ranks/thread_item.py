"""A marked test whose ranks are threads of pytest's process: fixtures are set up once, the function runs in each rank.

Fixtures that have another value in each rank can be arguments of the test's function alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from torch_testing_shim._cases.threads.multi_threaded import spawn_threads_and_init_comms
from torch_testing_shim._engine.devices import bind_rank, device_in_use
from torch_testing_shim._pytest_ranks.marks import RanksMark
from torch_testing_shim._pytest_ranks.rank_item import rerun_command, seconds_of, skip_by_devices
from torch_testing_shim._shared.rerun_command import repro_on_failure

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class ThreadItem:
    """Stands for pytest's set-up and call of such a test, as `RankItem` does."""

    is_expected = None

    def __init__(self, item: Any, mark: RanksMark, world_size: int) -> None:
        self._item = item
        self._mark = mark
        self._world_size = world_size

    def set_up(self) -> None:
        """Set up the fixtures that all ranks share."""
        item = self._item
        skip_by_devices(item, self._mark)
        for name in item.fixturenames:
            if name not in _OF_A_RANK and name not in item.funcargs:
                item.funcargs[name] = item._request.getfixturevalue(name)

    def run(self) -> None:
        """Call the function in each rank and raise the verdict, as `RankItem.run`."""
        item, size, seconds = self._item, self._world_size, seconds_of(self._item, self._mark)

        def in_rank(_: object) -> Any:
            names = item._fixtureinfo.argnames
            return item.obj(**{n: _OF_A_RANK[n](size) if n in _OF_A_RANK else item.funcargs[n] for n in names})

        in_rank.__name__ = item.name
        run = spawn_threads_and_init_comms(in_rank, timeout=seconds, world_size=size)
        with repro_on_failure(rerun_command(item)):
            run(_Instance())


class _Instance:
    """Stands for the test case that `spawn_threads_and_init_comms` wants."""


def _device(size: int) -> torch.device:
    return bind_rank(dist.get_rank(), None if device_in_use().has_room_for(size) else "cpu")


#: The fixtures that have another value in each rank, given how many there are.
_OF_A_RANK: dict[str, Callable[[int], Any]] = {
    "rank": lambda size: dist.get_rank(),
    "world_size": lambda size: size,
    "device": _device,
    "process_group": lambda size: dist.distributed_c10d._get_default_group(),
    "device_mesh": lambda size: init_device_mesh(_device(size).type, (size,)),
}
