"""run_test.py under torchrun: the runner of rank 0 starts file after file, and the other processes start the same.

    rank 0    run_test.py  --starts-->  python FILE  --order-->  torchrun's store
                   '--status-->  lead  --status--------------------->  |
    rank N                                  follow  <--order, status---'  --starts-->  python FILE

Only rank 0 chooses, retries and reports. Each of its test files gives the order for itself, as it joins the others. The
runner imports no torch, so `lead` holds its connection with the store.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch_testing_shim._engine.joined.arrival import ABSENT, MissingRanksError, arrive
from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim._engine.joined.world import connect_with
from torch_testing_shim._shared.exit_status import ExitStatus, describe_exit
from torch_testing_shim._shared.launch import PART_VARIABLE, Launch
from torch_testing_shim._shared.parent_death import die_with_this_process
from torch_testing_shim._shared.settings import SETTINGS, as_variables, read_launch, read_settings

#: How long the processes may take to find each other, and to leave, in seconds.
_ARRIVE_SECONDS, _LEAVE_SECONDS = 120.0, 10.0
#: How often a process looks for an order, in seconds.
_LOOK_SECONDS = 0.05
_STATUS = "status"


@dataclass(frozen=True)
class Order:
    """The order to start a test file."""

    part: str  # of the launch (`Launch.part`)
    words: Sequence[str]  # the command line behind the interpreter
    folder: str  # the working folder
    variables: Mapping[str, str]  # what the runner sets for the file


def give_order(launch: Launch) -> None:
    """In a test file of rank 0 that the runner has started: has the other processes start it, too."""
    kept = {row.variable for row in SETTINGS.values() if row.is_ours} | {"TMPDIR", "WORLD_SIZE"}
    variables = {name: text for name, text in as_variables(read_settings()).items() if name not in kept}
    variables |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    order = Order(launch.part, sys.orig_argv[1:], os.getcwd(), variables)
    store = BoundedStore(lambda: connect_with(launch, "")).below(launch.part.partition("/")[0])
    try:
        store.set(f"order/{store.add('orders')}", json.dumps(vars(order)))
    finally:
        store.close()


class _Launched:
    """The connection of `lead` or `follow` with the store."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        store = BoundedStore(lambda: connect_with(launch, ""))
        store.ask(lambda store: None, _ARRIVE_SECONDS)  # connects
        self.run = arrive(Exchange(store, launch.rank), launch.rank, launch.world_size, _ARRIVE_SECONDS)
        self.store = store.below(self.run)
        self.exchange = Exchange(self.store, launch.rank)

    def leave(self) -> None:
        """Wait for the others, since torchrun ends all once one has ended with a failure."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + _LEAVE_SECONDS
        with suppress(StoreLostError):
            self.exchange.answer("left", "", self.launch.world_size)
        self.exchange.wait("left", lambda: until)


def _own_launch() -> Launch:
    launch = read_launch()
    assert launch is not None, "torchrun has started the runner"
    return launch


def lead() -> int:
    """`--lead`: print the name of the run once all have come, and tell the others the status that is read then."""
    launch = _own_launch()
    try:
        launched = _Launched(launch)
        print(launched.run, flush=True)
        status = sys.stdin.readline().strip() or str(int(ExitStatus.FAILED))
        launched.store.set(_STATUS, status)
        launched.leave()
    except (StoreLostError, MissingRanksError) as error:
        print(error.sentence(launch) if isinstance(error, StoreLostError) else error, file=sys.stderr)
        return ExitStatus.USAGE
    return ExitStatus.PASSED


def follow() -> int:
    """`--follow`: start what rank 0 starts, and return its status."""
    launch = _own_launch()
    try:
        launched = _Launched(launch)
        number = 1
        while True:
            if launched.store.has(f"order/{number}"):
                _carry_out(launched, Order(**json.loads(launched.store.get([f"order/{number}"])[0])))
                number += 1
            elif launched.store.has(_STATUS):
                launched.leave()
                return int(launched.store.get([_STATUS])[0])
            time.sleep(_LOOK_SECONDS)
    except StoreLostError:
        return ExitStatus.FAILED
    except MissingRanksError:  # which rank 0 tells
        return ExitStatus.USAGE


def _carry_out(launched: _Launched, order: Order) -> None:
    environment = {**os.environ, **order.variables, PART_VARIABLE: order.part}
    preexec = die_with_this_process()
    try:
        child = subprocess.run(
            [sys.executable, *order.words],
            cwd=order.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            preexec_fn=preexec,
            check=False,
        )
        said = describe_exit(child.returncode) if child.returncode else ""
    except OSError as error:
        said = str(error)
    if said:  # those that wait for it need not wait
        with suppress(StoreLostError):
            store = BoundedStore(lambda: connect_with(launched.launch, order.part))
            store.set(ABSENT, f"rank {launched.launch.rank} ({socket.gethostname()}): {said}")
            store.close()
