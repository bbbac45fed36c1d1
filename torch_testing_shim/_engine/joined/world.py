"""The joined world: its members, how they talk, and the test that runs."""

from __future__ import annotations

import faulthandler
import math
import os
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from torch_testing_shim._engine.joined.arrival import arrive
from torch_testing_shim._engine.joined.bounded_store import CALM_SECONDS, BoundedStore, seconds_for_call
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim._engine.joined.meeting import MEETING
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._shared.launch import Launch

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long after a deadline a process may live, in seconds: longer than the watch takes to end it.
_LAST_SECONDS = 12.0


@dataclass(frozen=True)
class Member:
    """One process of the world, and where it runs."""

    rank: int
    host: str
    pid: int


@dataclass
class CurrentTest:
    """The test that this process runs."""

    name: str  # "Class.method"
    key: str  # the prefix of its keys in the store
    deadline: float  # when it, or the part of it that runs, is out of time, on the monotonic clock
    started_at: float  # when it started, in seconds since the epoch
    #: When its ranks were ready, on the monotonic clock: the same moment on all hosts; before, when it started.
    began: float
    #: The main thread waits for the other ranks, for a limited time, so that nobody has to end it.
    is_awaited: bool = False
    in_body: bool = False  # its ranks run its body, or have not told all how that ended
    came: bool = False  # this process has told the others that it is ready, or why it is not
    ranks: int = 0  # how many ranks run its body; 0 before that is known
    folders: list[str] = field(default_factory=list)  # that this process removes when all ranks have ended the test
    #: The scratch folder of this rank, beside those of its neighbours; None before its ranks are joined.
    scratch: Path | None = None
    #: Tells how this rank stands, where its main thread does not come back.
    end_stuck: Callable[..., RankOutcome] | None = None

    def remove_folders(self) -> None:
        while self.folders:
            shutil.rmtree(self.folders.pop(), ignore_errors=True)


class BodyKeeper(Protocol):
    """Puts back what a body has changed in this process."""

    def before_body(self, test_class: type) -> None:
        """Record the state that the body finds."""

    def after_body(self) -> tuple[str, ...]:
        """Put it back. Return a sentence for each thing that the body has left nevertheless."""


def key_of(name: str, number: int) -> str:
    """Return the prefix of the keys of a test's `number`-th run, from 1."""
    return f"test/{name}/{number}"


def connect_with(launch: Launch, part: str) -> Store:
    """Connect with the launcher's store, below a prefix for a part of what runs in the launch."""
    return PrefixStore(_prefix(part), _connect(launch))


def _prefix(part: str) -> str:
    return f"torch_testing_shim/{part}"


def _connect(launch: Launch, *, is_server: bool = False) -> Store:
    return TCPStore(
        launch.address,
        launch.port,
        is_master=is_server,
        wait_for_workers=False,
        timeout=timedelta(seconds=CALM_SECONDS),
    )


class JoinedWorld:
    """All processes that the launcher has started.

    Attributes:
        rank: this process.
        size: number of processes.
        members: the processes, by rank, once they have agreed.
        exchange: for the main thread.
        lasting: the same, in the part of the store that stays when the launcher restarts its processes.
        test: the test that runs; None between tests.
        terminated_at: when the launcher asked this process to end, on the monotonic clock; None if it has not.
        deaths: outcomes of the neighbours that have died, by rank.
        idle_deadline: when the next test should have begun, on the monotonic clock.
        is_over: the run is over, so that members may go.
        keeper: of this process's state; None to put nothing back.
        complain: prints a line, also in a process that is silent.
        tell: reports a test that no main thread can report any more: its exception, and how its ranks ended.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.rank, self.size = launch.rank, launch.world_size
        self.members: Sequence[Member] = ()
        self._server = _connect(launch, is_server=True) if self.rank == 0 and not launch.has_store else None
        self._run = ""
        store = BoundedStore(lambda: connect_with(launch, launch.part), self._seconds_for_call)
        self.lasting = Exchange(store, self.rank, self.size)
        self.exchange = self.lasting
        self.test: CurrentTest | None = None
        self.terminated_at: float | None = None
        self.is_over = False
        self.deaths: dict[int, RankOutcome] = {}
        self.idle_deadline = math.inf
        self.keeper: BodyKeeper | None = None
        self.complain: Callable[[str], None] = print
        self.tell: Callable[[BaseException, Sequence[RankOutcome]], None] = lambda error, outcomes: None
        self._times = Counter[str]()
        self._ending = threading.Lock()
        self._is_ending = False

    def new_exchange(self) -> Exchange:
        """Return an exchange for one thread, below this run's own prefix, by the connection that all share."""
        return Exchange(self.lasting.store.below(self._run), self.rank, self.size)

    def arrive(self, seconds: float) -> None:
        """Connect with the launcher's store, as often as this process ever will, and wait for the other processes:
        no call has to wait for a connection once a test runs. Raise as `arrival.arrive`, which see."""
        self.lasting.store.ask(lambda store: None, seconds)
        MEETING.open(lambda: _connect(self.launch))
        self._run = f"run/{arrive(self.lasting, self.rank, self.size, seconds)}"
        self.exchange = self.new_exchange()

    def _seconds_for_call(self) -> float:
        until = self.idle_deadline if self.test is None else self.test.deadline
        return seconds_for_call(until - time.monotonic()) if self.members else CALM_SECONDS

    @property
    def prefix(self) -> str:
        """The prefix of this run's keys in the launcher's store."""
        return f"{_prefix(self.launch.part)}/{self._run}"

    @property
    def everyone(self) -> range:
        return range(self.size)

    @property
    def own(self) -> Member:
        """This process."""
        return self.members[self.rank]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts, in the order of ranks."""
        return tuple(dict.fromkeys(member.host for member in self.members))

    @property
    def neighbours(self) -> list[Member]:
        """The other members on this host."""
        own = socket.gethostname()
        return [member for member in self.members if member.host == own and member.pid != os.getpid()]

    def have_run(self, names: Iterable[str]) -> None:
        """Count tests that have run before a restart."""
        self._times.update(names)

    def begin(self, name: str, seconds: float) -> None:
        """Begin a test, whose set-up may take `seconds`."""
        self._times[name] += 1
        now = time.monotonic()
        self.test = CurrentTest(name, key_of(name, self._times[name]), now + seconds, time.time(), now)
        self.guard()

    def claim_end(self, test: CurrentTest) -> bool:
        """Whether the watch may end the test in the main thread's place, which then goes no further."""
        with self._ending:
            self._is_ending = self.test is test and not test.is_awaited
            return self._is_ending

    def end(self, seconds: float) -> None:
        """End the test; the next one has to begin within `seconds`."""
        self.idle_deadline = time.monotonic() + seconds
        self.test = None
        self.guard()

    def guard(self) -> None:
        """End this process where not even the watch has, which needs the interpreter's lock: torch 2.6 may keep it for
        ever while it destroys a process group."""
        until = self.idle_deadline if self.test is None else self.test.deadline
        if math.isfinite(until):
            faulthandler.dump_traceback_later(max(0.0, until - time.monotonic()) + _LAST_SECONDS, exit=True)

    @contextmanager
    def awaiting(self, seconds: float) -> Iterator[CurrentTest]:
        """In the main thread: waits for others inside the block; what follows it may take `seconds`."""
        with self._ending:
            if not self._is_ending:
                self.current.is_awaited = True
        while self._is_ending:
            time.sleep(1.0)  # the watch ends the process
        yield self.current
        self.current.deadline = time.monotonic() + seconds
        self.current.is_awaited = False
        self.guard()

    @property
    def current(self) -> CurrentTest:
        assert self.test is not None, "ranks run within a test"
        return self.test


class ThisProcess:
    """The joined world of this process; None where no launcher has started it."""

    def __init__(self) -> None:
        self.world: JoinedWorld | None = None


JOINED = ThisProcess()
