"""The zygote's own code: a rank server (see `rank_server`) that ranks are forked from.

The zygote stays pristine: it runs no test, starts no thread and touches no accelerator. So a rank that is forked from
it starts like a new interpreter that has done its imports and its warm-up. The rank server checks this before each
fork, and refuses where it does not hold.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

import torch

from torch_testing_shim._assertions.comparison import ComparisonRules, differences
from torch_testing_shim._engine.collective_log import warm_up_logging
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.loopback import loopback_interface
from torch_testing_shim._engine.process_state import read_environment_again
from torch_testing_shim._engine.quick_store import meet_quickly
from torch_testing_shim._engine.rank_main import run_rank
from torch_testing_shim._engine.rank_server import RankServer
from torch_testing_shim._shared.huge_pages import use_huge_pages

#: So many ranks are forked from small pages. Huge ones cost the zygote up to 0.2 s and a copy of its memory, and save
#: each rank some 5 ms of the time of the kernel, for its fork and its end.
_FEW_RANKS = 16


def serve(
    orders: socket.socket,
    controller_pid: int,
    preload: Sequence[str],
    prepare: Callable[[RankJob], None] = lambda job: None,
) -> NoReturn:
    """Run the zygote in this process until the controller closes its end of the socket, whose other end is `orders`.
    Then it ends every rank and the process. The modules of `preload`, which tests import lazily, are imported once, and
    not by every rank. `prepare` makes the process ready for a rank to be forked; it raises OSError where it cannot
    be."""
    imported = set(sys.modules)
    try:
        server = RankServer(orders, controller_pid, run_rank, before_each_fork(prepare))
        meet_quickly()  # before the attributes of libraries are recorded
        for name in preload:
            with suppress(ImportError):  # this torch does not have it; a test that wants it will say so
                importlib.import_module(name)
        read_environment_again()
        warm_up()
        gc.freeze()  # what is here now is never collected, so ranks do not copy its pages by collecting
        server.run()
    finally:
        with suppress(OSError):
            _remove_temporary_folders(set(sys.modules) - imported)
        os._exit(0)


def before_each_fork(prepare: Callable[[RankJob], None]) -> Callable[[RankJob], None]:
    """Return a function that prepares this process for a fork, and once many ranks have been forked collects its
    memory into huge pages."""
    numbers = itertools.count()

    def prepare_and_collect(job: RankJob) -> None:
        prepare(job)
        if next(numbers) == _FEW_RANKS:
            with suppress(OSError):  # no descriptor is left
                use_huge_pages()

    return prepare_and_collect


def warm_up() -> None:
    """Do once what nearly every rank does first: compares two small tensors, opens a stream, puts the kernels in
    place that log collectives, and looks for the loopback interface.

    Python and torch fill caches at the first use of many things. A rank that finds them filled writes to fewer of the
    pages that it shares with the others, and gets a copy of each page that it writes to.

    The warm-up draws no random number, starts no thread and touches no accelerator, whatever device the test's module
    has made the default. It does nothing where that module has put something of its own in torch's place.
    """
    with suppress(Exception):
        twos = torch.full((2,), 2.0, dtype=torch.float32, device="cpu")
        differences(torch.ones((2,), dtype=torch.float32, device="cpu") * 2, twos, ComparisonRules())
    with suppress(Exception):
        warm_up_logging()
    with suppress(Exception):
        open(os.devnull, "w", buffering=1, errors="backslashreplace").close()
    loopback_interface()


def _remove_temporary_folders(modules: Iterable[str]) -> None:
    """Remove the folders that modules have made for themselves (torch 2.6: torch.distributed.nn). Python removes them
    only where a process ends by itself."""
    for name in modules:
        for value in list(vars(sys.modules[name]).values()):
            if isinstance(value, tempfile.TemporaryDirectory):
                value.cleanup()
