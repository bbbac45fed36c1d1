"""A test file that a launcher (torchrun) has started several times: the processes agree, run the same, and end alike.

    agree on what runs  >  each test: ready, outcome, end  >  agree on the exit status  >  end together

Rank 0 reports; the others are silent, unless rank 0 is gone.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from torch_testing_shim._engine.controller import RankFailure
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.ending import Patience, Standing, end_run
from torch_testing_shim._engine.joined.joined_ranks import come
from torch_testing_shim._engine.joined.watch import Watch
from torch_testing_shim._engine.joined.world import JOINED, JoinedWorld, Member
from torch_testing_shim._engine.loopback import listen_on_loopback
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, members_text
from torch_testing_shim._program.log import BY_GRAVITY, TestLog, headline
from torch_testing_shim._program.notes import rank_records
from torch_testing_shim._program.options import ProgramOptions, UsageError
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import Journal, JournalEntry, TestStatus
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim._shared.settings import Settings, read_settings, take_launch

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How long processes may take to come and say what they run, and to say how it ended, in seconds: imports take long
#: where a network's file system is cold.
_JOIN_SECONDS = 120.0
#: How long a process that ends waits for the others, in seconds.
_PART_SECONDS = 10.0
_PACKAGE = Path(__file__).parents[1]
#: The length of digests that people read.
_DIGITS = 12


def refuse_options(options: ProgramOptions) -> None:
    """Refuse what a launcher's process cannot do.

    Raises:
        UsageError: the options ask for processes of their own, for pytest, or for an end that others do not come to.
    """
    given = {
        "--subprocess": options.subprocess,
        "--run-parallel": options.run_parallel > 1,
        "--use-pytest": options.use_pytest,
        "--failfast": options.failfast,  # a process would stop alone where its tear-down fails
    }
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"{name} cannot be combined with torchrun, whose processes are the ranks of every test")


def facts_of(names: Sequence[str], script: str, settings: Settings, device: DeviceInUse) -> dict[str, str]:
    """Return what all processes have to have in common, in words."""
    try:
        text = Path(script).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {script}: {error.strerror}") from None
    return {
        "torch_testing_shim": _digest(b"".join(path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py")))),
        "torch": torch.__version__,
        "test file": _digest(text),
        "tests": f"{len(names)} ({_digest(chr(10).join(names).encode())})",
        "seed": str(settings.seed),
        "device": device.type if device.is_cpu else f"{device.count} {device.type} on each host",
        "seconds for a test": f"{settings.timeout_seconds:g}",
    }


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


@contextmanager
def joined_run(launch: Launch, facts: Mapping[str, str]) -> Iterator[JoinedRun]:
    """Run the block as one of the processes that a launcher has started, and end together with them.

    Raises:
        UsageError: the store cannot be reached, a process does not come, or the processes do not run the same.
    """
    world = JoinedWorld(launch)
    run = JoinedRun(world)
    try:
        told = _meet(world, facts)
        if differences := _differences(world, told):
            raise UsageError("\n".join(["torchrun's processes do not run the same:", *differences]))
        run.begin()
        yield run
    except Exception as error:
        if not isinstance(error, UsageError):
            run.speak()
        raise
    finally:
        run.part()


def _meet(world: JoinedWorld, facts: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Meet the other processes. Returns the facts of all, by rank."""
    own = {"host": socket.gethostname(), "pid": os.getpid(), "facts": facts}
    until = time.monotonic() + _JOIN_SECONDS
    try:
        world.exchange.store.ask(lambda store: None, _JOIN_SECONDS)  # connects
        world.exchange.answer("facts", json.dumps(own), world.size)
    except StoreLostError as error:
        where = f"{world.launch.address}:{world.launch.port}"
        raise UsageError(f"the launcher's store at {where} cannot be reached: {error}") from None
    is_complete = world.exchange.wait("facts", lambda: until)
    answers = world.exchange.answers("facts", world.everyone)
    if not is_complete:
        missing = [str(rank) for rank in world.everyone if rank not in answers]
        raise UsageError(f"nothing was heard from rank {', '.join(missing)} within {_JOIN_SECONDS:.0f} s")
    told: list[dict[str, Any]] = [json.loads(answers[rank]) for rank in world.everyone]
    world.members = [Member(rank, one["host"], one["pid"]) for rank, one in enumerate(told)]
    return [one["facts"] for one in told]


def _differences(world: JoinedWorld, facts: Sequence[Mapping[str, str]]) -> list[str]:
    lines = []
    for name in facts[0]:
        groups: dict[str, list[RankOutcome]] = {}
        for member, one in zip(world.members, facts, strict=True):
            outcome = RankOutcome(member.rank, RankStatus.PASSED, host=member.host)
            groups.setdefault(one.get(name, "unknown"), []).append(outcome)
        if len(groups) > 1:
            each = [f"{value} on {members_text(outcomes)}" for value, outcomes in groups.items()]
            lines.append(f"    {name}: {'; '.join(each)}")
    return lines


class JoinedRun:
    """The run of this process in its world."""

    def __init__(self, world: JoinedWorld) -> None:
        self.world = world
        self._watch: Watch | None = None
        self._streams: list[tuple[int, int]] = []

    def begin(self) -> None:
        """Become a rank of the world; ranks other than 0 fall silent."""
        listen_on_loopback(os.environ)
        take_launch()
        JOINED.world = self.world
        self.world.idle_deadline = time.monotonic() + read_settings().timeout_seconds
        self.world.complain = self.complain
        if self.world.rank:
            self._fall_silent()
        self._watch = Watch(self.world)

    def _fall_silent(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            self._streams.append((number, os.dup(number)))
            os.dup2(null, number)
        os.close(null)

    def speak(self) -> None:
        """Print again, in a process that was silent."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        while self._streams:
            number, kept = self._streams.pop()
            os.dup2(kept, number)
            os.close(kept)

    def complain(self, line: str) -> None:
        """Print a line for people, whether or not this process is silent."""
        self.speak()
        print(f"torch_testing_shim: {line}", file=sys.stderr, flush=True)

    def log(self, journal: Journal | None) -> TestLog:
        """Return the log of the run; rank 0 keeps the journal."""
        return JoinedLog(self, None if self.world.rank else journal)

    def merged(self, status: int, log: TestLog) -> int:
        """Return the exit status of all processes, given this one's. Rank 0 tells of what failed on others between
        tests."""
        world = self.world
        failed = [[e.test, e.reason] for e in log.entries if e.status.is_failure and e.test not in log.planned]
        until = time.monotonic() + _JOIN_SECONDS
        world.end(_JOIN_SECONDS + _PART_SECONDS)
        try:
            world.exchange.answer("status", json.dumps([status, failed]), world.size)
            world.exchange.wait("status", lambda: until)
        except StoreLostError:
            return ExitStatus.FAILED
        answers = world.exchange.answers("status", world.everyone)
        if world.rank == 0:
            for rank in sorted(answers.keys() - {0}):
                for name, reason in json.loads(answers[rank])[1]:
                    print(f"\nERROR: {name} on rank {rank} ({world.members[rank].host}): {reason}", file=sys.stderr)
        missing = [str(rank) for rank in world.everyone if rank not in answers]
        if missing:
            print(f"rank {', '.join(missing)} did not tell how its run ended", file=sys.stderr)
        statuses = {json.loads(text)[0] for text in answers.values()}
        return status if statuses == {status} and not missing else ExitStatus.FAILED

    def part(self) -> None:
        """End together with the others, rank 0 last: torchrun ends all once one has failed, and may take its store
        along."""
        world = self.world
        if self._watch is not None:
            self._watch.stop()
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + _PART_SECONDS
        with suppress(StoreLostError):
            world.exchange.answer("parted", "", world.size)
            world.exchange.wait("parted", lambda: until)


class JoinedLog(TestLog):
    """The log of a joined run: tests start and end together with those of the other processes."""

    def __init__(self, run: JoinedRun, journal: Journal | None) -> None:
        super().__init__(journal)
        self._run = run
        self._world = run.world
        self._world.tell = self._tell

    def start(self, name: str) -> None:
        self._world.begin(name, read_settings().timeout_seconds)
        super().start(name)

    def end(self, entry: JournalEntry) -> None:
        test = self._world.test
        if test is not None and test.name == entry.test:
            entry = self._agreed(entry)
        super().end(entry)

    def _agreed(self, entry: JournalEntry) -> JournalEntry:
        """Return the entry over all processes. A rank's test may have failed in its tear-down, or may not have
        begun."""
        world, test, seconds = self._world, self._world.current, read_settings().timeout_seconds
        come(world, test, f"{entry.status.value}: {entry.reason}" if entry.reason else entry.status.value)
        with world.awaiting(seconds):
            with suppress(StoreLostError):
                world.exchange.answer(f"{test.key}/ended", json.dumps([entry.status.value, entry.reason]), world.size)
            if not world.exchange.wait(f"{test.key}/ended", Patience(world, test, world.exchange, is_brief=True).until):
                own = RankOutcome(world.rank, RankStatus.STOPPED, time.monotonic())
                end_run(world, test, world.exchange, Standing(own, leaves=True), in_body=False)
            answers = world.exchange.answers(f"{test.key}/ended", world.everyone)
        world.end(seconds)
        told = {rank: json.loads(text) for rank, text in answers.items()}
        return self._fold(entry, {rank: (TestStatus(status), reason) for rank, (status, reason) in told.items()})

    def _fold(self, entry: JournalEntry, told: Mapping[int, tuple[TestStatus, str]]) -> JournalEntry:
        if {status for status, _ in told.values()} == {entry.status}:
            return entry
        rank = min(told, key=lambda rank: BY_GRAVITY.index(told[rank][0]))
        status, reason = told[rank]
        who = f"rank {rank} ({self._world.members[rank].host})"
        line = f"{who}: {status.value}: {reason}" if status.is_failure else f"ranks disagree: {who}: {status.value}"
        found = replace(entry, status=status if status.is_failure else TestStatus.ERROR, reason=line)
        if not entry.status.is_failure and self._world.rank == 0:
            print(f"\nERROR: {entry.test}\n{line}", file=sys.stderr)
        return replace(found, detail=entry.detail or line)

    def _tell(self, error: BaseException, outcomes: Sequence[RankOutcome]) -> None:
        """Report the test that has ended the run, and the tests that do not run after it."""
        self._run.speak()
        test = self._world.current
        status = TestStatus.FAILED if isinstance(error, RankFailure) else TestStatus.ERROR
        seconds, records = time.time() - test.started_at, rank_records(outcomes, [test.began] * len(outcomes))
        entry = JournalEntry(test.name, status, seconds, headline(error), str(error), test.started_at, records)
        super().end(entry)
        print(f"\n{'=' * 70}\n{status.name}: {test.name}\n{'-' * 70}\n{error}\n", file=sys.stderr)
        if self.never_ended:
            print(f"these tests were to run and did not: {', '.join(self.never_ended)}", file=sys.stderr)
        print(f"FAILED: {self.summary()}; torchrun's processes could not go on", file=sys.stderr, flush=True)
