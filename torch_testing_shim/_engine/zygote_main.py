"""The zygote's own code: a keeper (see `keeper`) that ranks are forked from.

The zygote stays pristine: it runs no test, starts no thread and touches no accelerator, so that what it forks starts
like a new interpreter that has done its imports, and what all ranks do first (see `rehearsal`). The keeper checks this
before each fork and refuses where it does not hold.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.keeper import Keeper
from torch_testing_shim._engine.process_state import read_environment_again
from torch_testing_shim._engine.rank_main import run_rank
from torch_testing_shim._engine.rehearsal import rehearse

__all__ = ["serve"]


def serve(
    orders: socket.socket,
    controller_pid: int,
    preload: Sequence[str],
    prepare: Callable[[RankJob], None] = lambda job: None,
) -> NoReturn:
    """Runs the zygote in this process until the controller closes its end, then ends every rank and the process.

    Args:
        orders: the zygote's end of the socket.
        controller_pid: the process whose death ends this one.
        preload: modules that tests import lazily, to be imported here once and not by every rank.
        prepare: makes this process ready for a rank to be forked; raises OSError where it cannot be.
    """
    imported = set(sys.modules)
    try:
        keeper = Keeper(orders, controller_pid, run_rank, prepare)
        for name in preload:
            with suppress(ImportError):  # this torch does not have it; a test that wants it will say so
                importlib.import_module(name)
        read_environment_again()
        rehearse()
        gc.freeze()  # what is here now is never collected, so ranks do not copy its pages by collecting
        keeper.run()
    finally:
        with suppress(OSError):
            _remove_temporary_folders(set(sys.modules) - imported)
        os._exit(0)


def _remove_temporary_folders(modules: Iterable[str]) -> None:
    """Removes the folders that modules have made for themselves (torch 2.6: torch.distributed.nn), which Python would
    at the end of a process that ends of itself."""
    for name in modules:
        for value in list(vars(sys.modules[name]).values()):
            if isinstance(value, tempfile.TemporaryDirectory):
                value.cleanup()
