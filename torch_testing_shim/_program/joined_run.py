"""A test file that a launcher (torchrun) has started several times: the processes agree, run the same, and end alike.

    meet  >  agree on what runs  >  each test: ready, outcome, end  >  agree on the exit status  >  end together

Rank 0 reports; the others are silent, unless rank 0 is gone.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch_testing_shim._engine.joined.arrival import MissingRanksError, unmarked
from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.watch import Watch
from torch_testing_shim._engine.joined.world import JOINED, JoinedWorld, Member
from torch_testing_shim._engine.loopback import listen_on_loopback
from torch_testing_shim._isolation.body_keeper import BodyKeeper
from torch_testing_shim._program.following import give_order
from torch_testing_shim._program.interrupts import Terminated
from torch_testing_shim._program.joined_facts import differences
from torch_testing_shim._program.joined_log import JoinedLog
from torch_testing_shim._program.log import counts
from torch_testing_shim._program.options import UsageError
from torch_testing_shim._program.ran_before import RanBefore
from torch_testing_shim._program.voice import Voice
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import Journal
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim._shared.settings import read_settings, take_launch
from torch_testing_shim._shared.stop_signals import STOP_SIGNALS

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How long processes may take to come and say what they run, and to say how it ended, in seconds: imports take long
#: where a network's file system is cold.
_JOIN_SECONDS = 120.0
#: How long a process that ends waits for the others, in seconds.
_PART_SECONDS = 10.0


@contextmanager
def joined_run(launch: Launch, names: Sequence[str], facts: Mapping[str, str], voice: Voice) -> Iterator[JoinedRun]:
    """Run the block as one of the processes that a launcher has started, and end together with them.

    Args:
        names: the tests that are to run.
        facts: what all processes have to have in common.
        voice: this process's streams; those of ranks other than 0 are silent.
    """
    world = JoinedWorld(launch)
    run = JoinedRun(world, voice)
    try:
        told = run.meet(names, facts)
        if different := differences(world.members, [one["facts"] for one in told]):
            raise UsageError("\n".join(["torchrun's processes do not run the same:", *different]))
        run.ran.take(told[0]["ran"])
        run.begin()
        yield run
    except Exception as error:
        if not isinstance(error, UsageError):
            run.voice.speak()
        raise
    finally:
        run.part()


class JoinedRun:
    """The run of this process in its world.

    Attributes:
        ran: what has run.
        voice: this process's streams.
    """

    def __init__(self, world: JoinedWorld, voice: Voice) -> None:
        self.world = world
        self.ran = RanBefore(world.lasting.store)
        self._watch: Watch | None = None
        self.voice = voice

    def meet(self, names: Sequence[str], facts: Mapping[str, str]) -> list[dict[str, Any]]:
        """Meet the other processes. Return what each tells, by rank; of rank 0, also what ran before a restart."""
        world = self.world
        try:
            told = self._all_told(names, facts)
        except StoreLostError as error:
            if world.rank % world.launch.local_world_size == 0:  # rank 0, on another host, may have reached it
                self.voice.speak()
            raise UsageError(error.sentence(world.launch)) from None
        except MissingRanksError as error:
            if 0 in error.ranks and world.rank == min({*world.everyone}.difference(error.ranks)):
                self.voice.speak()
            raise UsageError(str(error)) from None
        except Terminated:  # by torchrun, once a process has failed before it came
            with suppress(StoreLostError):
                if missing := unmarked(world.lasting, world.size):
                    print(MissingRanksError.of(missing, "before torchrun ended the others"), file=sys.stderr)
            raise
        world.members = [Member(rank, one["host"], one["pid"]) for rank, one in enumerate(told)]
        return told

    def _all_told(self, names: Sequence[str], facts: Mapping[str, str]) -> list[dict[str, Any]]:
        until, world = time.monotonic() + _JOIN_SECONDS, self.world
        own = {"host": socket.gethostname(), "pid": os.getpid(), "facts": facts}
        if world.launch.part and world.rank == 0:
            give_order(world.launch)
        world.arrive(_JOIN_SECONDS)
        if world.rank == 0:
            own["ran"] = self.ran.read(names)
        world.exchange.answer("facts", json.dumps(own), world.size)
        world.exchange.wait("facts", lambda: until)
        world.exchange.store.has("facts/all")  # raises where the store is lost: then nothing is known of the others
        answers = world.exchange.answers("facts", world.everyone)
        if missing := [rank for rank in world.everyone if rank not in answers]:
            raise MissingRanksError.of(missing, f"within {_JOIN_SECONDS:.0f} s")
        return [json.loads(answers[rank]) for rank in world.everyone]

    def begin(self) -> None:
        """Become a rank of the world."""
        listen_on_loopback(os.environ)
        take_launch()
        JOINED.world = self.world
        self.world.have_run(entry.test for entry in self.ran.before)
        self.world.idle_deadline = time.monotonic() + read_settings().timeout_seconds
        self.world.complain, self.world.keeper = self.complain, BodyKeeper()
        if self.ran.before:
            print(f"torchrun has restarted its processes; before that: {counts(self.ran.before)}", file=sys.stderr)
        self._watch = Watch(self.world)

    def complain(self, line: str) -> None:
        """Print a line for people, whether or not this process is silent."""
        self.voice.speak()
        print(f"torch_testing_shim: {line}", file=sys.stderr, flush=True)

    def log(self, journal: Journal | None) -> JoinedLog:
        """Return the log of the run; rank 0 alone has a journal."""
        return JoinedLog(self, journal)

    def merged(self, status: int, log: JoinedLog) -> int:
        """Return the exit status of all processes, given this one's. Rank 0 tells of what failed on others between
        tests."""
        world = self.world
        failed = [[e.test, e.reason] for e in log.entries if e.status.is_failure and e.test not in log.planned]
        world.end(_JOIN_SECONDS + _PART_SECONDS)
        try:
            world.exchange.answer("status", json.dumps([status, failed]), world.size)
            world.exchange.wait("status", self._until_all_have_told())
        except StoreLostError:
            return ExitStatus.FAILED
        answers = world.exchange.answers("status", world.everyone)
        told = {rank: json.loads(text) for rank, text in answers.items() if text}
        elsewhere = [(rank, name, reason) for rank in sorted(told) if rank for name, reason in told[rank][1]]
        missing = [str(rank) for rank in world.everyone if rank not in told]
        if world.rank == 0:
            for rank, name, reason in elsewhere:
                print(f"\nERROR: {name} on rank {rank} ({world.members[rank].host}): {reason}", file=sys.stderr)
        if missing:
            print(f"rank {', '.join(missing)} did not tell how its run ended", file=sys.stderr)
        merged = status if not missing and all(one == status for one, _ in told.values()) else ExitStatus.FAILED
        if self.ran.before or elsewhere or missing or log.has_folded:  # unittest has told its own result alone
            print(f"{'FAILED' if merged else 'OK'}, in all: {log.summary()}", file=sys.stderr)
        return merged

    def _until_all_have_told(self) -> Callable[[], float]:
        """Return until when to wait for the statuses. Meanwhile this process answers for neighbours that have died."""
        until, told = time.monotonic() + _JOIN_SECONDS, set[int]()

        def until_then() -> float:
            for rank in self.world.deaths.keys() - told:
                told.add(rank)
                self.world.exchange.answer("status", "", self.world.size, rank)
            return until

        return until_then

    def part(self) -> None:
        """End together with the others, rank 0 last: torchrun ends all once one has failed, and may take its store
        along."""
        world = self.world
        if self._watch is not None:
            self._watch.stop()
        faulthandler.cancel_dump_traceback_later()
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if not world.members:
            return
        until = world.idle_deadline = time.monotonic() + _PART_SECONDS
        with suppress(StoreLostError):
            world.exchange.answer("parted", "", world.size)
            world.exchange.wait("parted", lambda: until)
