"""How a joined test ends: the outcomes of all ranks, gathered, and where the world is broken, the end of the run.

Every rank folds the same outcomes. Where a rank has gone, or nothing is heard of it, the first rank that has waited
long enough settles for all which outcomes count; then every living process ends, since the others' next test would wait
for those that are gone.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from torch_testing_shim._engine.controller import RankError, raise_verdict
from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim._engine.joined.world import CurrentTest, JoinedWorld
from torch_testing_shim._engine.leftovers import end_children
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.self_report import report_of_this_process
from torch_testing_shim._engine.stacks import stacks_text
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.owned_folders import remove_own_folders, remove_stale

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long an outcome is waited for after the deadline, in seconds, and after another rank has ended badly.
_LATE_SECONDS, _GRACE_SECONDS = 3.0, 3.0
#: How long a rank that has nothing to tell yet waits after another has ended badly, in seconds. It then tells how it
#: stands, for which the others wait longer.
_BRIEF_GRACE_SECONDS = 1.0
#: Seconds between two looks whether a rank has ended badly: each is a question to the store, which all ranks share.
_LOOK_SECONDS = 0.1
#: How long a process that ends waits for the others, in seconds, so that the store outlives their last questions.
_LEAVE_SECONDS = 3.0
#: How long a process stays that has lost the store, in seconds, so that no neighbour takes its end for the cause.
_NOTICE_SECONDS = 1.0
#: The key that says that the run is over for all.
OVER = "over"


@dataclass(frozen=True)
class Standing:
    """What is told of one rank: its outcome, whether its process leaves, so that no other test can run, and whether it
    has left already."""

    outcome: RankOutcome
    leaves: bool = False
    is_gone: bool = False

    def to_json(self, began: float) -> str:
        """Return it for the store. Hosts have clocks of their own, so times count from `began`, when all were
        ready."""
        outcome = _later(self.outcome, -began)
        subtests = [subtest.to_json() for subtest in outcome.subtests]
        return json.dumps([self.leaves, self.is_gone, replace(outcome, subtests=()).to_json(), subtests])

    @property
    def in_common(self) -> str:
        """What stands for the outcomes of all ranks where they have this in common; empty for one that no other rank
        has. Rank, process and time are the rank's own."""
        outcome = self.outcome
        if self.leaves or outcome.status is not RankStatus.PASSED or outcome.subtests:
            return ""
        common = replace(outcome, rank=0, pid=0, host="", ended_at=0.0, collectives=None)
        return Standing(common).to_json(0.0)

    @classmethod
    def from_json(cls, text: str, began: float) -> Standing:
        leaves, is_gone, told, subtests = json.loads(text)
        outcome = RankOutcome.from_json(told)
        outcome = _later(replace(outcome, subtests=tuple(map(RankOutcome.from_json, subtests))), began)
        return cls(outcome, leaves, is_gone)


def _later(outcome: RankOutcome, seconds: float) -> RankOutcome:
    """Return an outcome whose times, and those of its subtests, are later by this."""
    subtests = tuple(replace(one, ended_at=one.ended_at + seconds) for one in outcome.subtests)
    return replace(outcome, ended_at=outcome.ended_at + seconds, subtests=subtests)


class Patience:
    """How long a rank waits for the others in a test.

    Args:
        is_brief: the others wait for this rank's own outcome, too.

    Attributes:
        in_body: the time of waiting is that of the test's body.
    """

    def __init__(self, world: JoinedWorld, test: CurrentTest, exchange: Exchange, *, is_brief: bool = False) -> None:
        self.test = test
        self._grace = _BRIEF_GRACE_SECONDS if is_brief else _GRACE_SECONDS
        self.in_body = test.in_body
        self._world, self._exchange = world, exchange
        self._bad_since: float | None = None
        self._look_at = -math.inf

    def saw_bad_by(self, moment: float) -> bool:
        """Whether a rank had ended badly, or the store was lost, at this moment on the monotonic clock."""
        return self._bad_since is not None and self._bad_since < moment

    def look(self) -> None:
        """Look whether a rank has ended badly; outside of the body, whether one leaves."""
        now = time.monotonic()
        if self._bad_since is not None or now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            is_bad = self._exchange.store.has(f"{self.test.key}/{'bad' if self.in_body else 'leaving'}")
        except StoreLostError:
            is_bad = True
        if is_bad:
            self._bad_since = time.monotonic()

    def has_waited(self, seconds: float) -> bool:
        """Whether it is longer than this since a rank has ended badly."""
        return self._bad_since is not None and time.monotonic() >= self._bad_since + seconds

    def until(self) -> float:
        """Return until when to wait, on the monotonic clock, as far as that is known now."""
        self.look()
        causes = (self._bad_since, self._world.terminated_at)
        return min([self.test.deadline + _LATE_SECONDS, *(at + self._grace for at in causes if at is not None)])


def standing_now(rank: int, status: RankStatus) -> RankOutcome:
    """Return how this rank stands, with its stacks."""
    report = report_of_this_process()
    return RankOutcome(
        rank,
        status,
        time.monotonic(),
        pid=os.getpid(),
        stacks=stacks_text(report.threads),
        handled=report.handled[0],
        handled_traceback=report.handled[1],
        wait=report.waits[0].value if report.waits else "",
    )


def post(world: JoinedWorld, test: CurrentTest, exchange: Exchange, told: Standing, *, in_body: bool) -> None:
    """Tell the others how a rank has ended, and where that is bad, that nobody needs to go on.

    Raises:
        StoreLostError: the store does not answer.
    """
    rank, text = told.outcome.rank, told.to_json(test.began)
    for flag in ("bad",) * (told.leaves or told.outcome.status.is_bad) + ("leaving",) * told.leaves:
        exchange.store.set(f"{test.key}/{flag}", "")
    if in_body and rank < test.ranks:
        exchange.answer(f"{test.key}/outcome", text, test.ranks, rank, told.in_common)
    if told.leaves:
        exchange.answer(f"{test.key}/left", text, world.size, rank)


def gather(world: JoinedWorld, test: CurrentTest, exchange: Exchange, own: Standing | None) -> list[Standing]:
    """Wait for the outcomes of the test's ranks; a rank that is not heard from is `SILENT`. `own` is this rank's,
    which counts also where the store is lost; None where it runs no part of the test."""
    ranks, question = range(test.ranks or world.size), "outcome" if test.ranks else "left"
    exchange.wait(f"{test.key}/{question}", Patience(world, test, exchange).until)
    is_reporter = world.rank == 0  # its records have the times of each rank
    answers = exchange.answers(f"{test.key}/{question}", ranks, each=is_reporter)
    read = {text: Standing.from_json(text, test.began) for text in set(answers.values())}  # one, where all are alike
    told = {rank: read[text] for rank, text in answers.items()}
    if own is not None:
        told.setdefault(world.rank, own)
    found = [told.get(rank) or _unheard(world, exchange, rank) for rank in ranks]
    return [_settled(world, rank, one) for rank, one in zip(ranks, found, strict=True)]


def _unheard(world: JoinedWorld, exchange: Exchange, rank: int) -> Standing:
    """Return the standing of a rank that has told none. Without the store, not even neighbours hear from each other,
    and one that ends has given up for that reason."""
    if rank in world.deaths and world.deaths[rank].ended_at < exchange.store.lost_at:
        return Standing(world.deaths[rank], leaves=True, is_gone=True)
    is_neighbour = world.members[rank].host == world.own.host
    status = RankStatus.STOPPED if is_neighbour and exchange.store.is_lost else RankStatus.SILENT
    outcome = RankOutcome(rank, status, time.monotonic())
    return Standing(outcome, leaves=True, is_gone=status is RankStatus.SILENT)


def _settled(world: JoinedWorld, rank: int, told: Standing) -> Standing:
    member = world.members[rank]
    subtests = tuple(replace(one, host=member.host) for one in told.outcome.subtests)
    outcome = replace(told.outcome, rank=rank, host=member.host, pid=member.pid, subtests=subtests)
    return replace(told, outcome=outcome)


def end_run(
    world: JoinedWorld, test: CurrentTest, exchange: Exchange, own: Standing | None, *, in_body: bool
) -> NoReturn:
    """End this process after a test whose ranks cannot go on: gather the outcomes, have the verdict told, and leave
    together with the others that live."""
    test.in_body = in_body
    if not in_body:
        test.ranks = 0
    with suppress(StoreLostError):
        if own is not None:
            post(world, test, exchange, own, in_body=in_body)
    leave(world, test, exchange, gather(world, test, exchange, own))


def leave(world: JoinedWorld, test: CurrentTest, exchange: Exchange, told: Sequence[Standing]) -> NoReturn:
    """Tell the verdict over these outcomes, unless another process does, and end this process."""
    told = _agreed(test, exchange, told)
    outcomes = [one.outcome for one in told]
    gone = {one.outcome.rank for one in told if one.is_gone}
    living = [rank for rank in world.everyone if rank not in gone]
    error: BaseException
    try:
        raise_verdict(outcomes, ExitExpectation())
        error = RankError("the ranks could not go on after the test")
    except BaseException as found:
        error = found
    try:
        if living and living[0] == world.rank:
            world.tell(error, outcomes)
    finally:
        world.is_over = True
        with suppress(StoreLostError):
            exchange.store.set(OVER, "")
            exchange.store.set(f"{test.key}/gone/{world.rank}", "")
            _await_all(exchange, [f"{test.key}/gone/{rank}" for rank in living])
        end_children()  # nobody else would: they may have left the group that torchrun ends, or resist
        test.remove_folders()
        if test.scratch is not None and world.deaths:
            remove_stale(str(test.scratch.parent))
        remove_own_folders()
        if exchange.store.is_lost:
            time.sleep(_NOTICE_SECONDS)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(ExitStatus.FAILED)


def _await_all(exchange: Exchange, keys: Sequence[str]) -> None:
    until = time.monotonic() + _LEAVE_SECONDS
    while time.monotonic() < until and not exchange.store.has(*keys):
        time.sleep(0.02)


def _agreed(test: CurrentTest, exchange: Exchange, told: Sequence[Standing]) -> list[Standing]:
    """Return the outcomes that the first process has settled on, which may have heard from a rank that is gone now;
    the given ones where the store is lost."""
    hosts = [one.outcome.host for one in told]
    text = json.dumps([one.to_json(test.began) for one in told])
    with suppress(StoreLostError):
        text = exchange.store.settle(f"{test.key}/settled", text)
    found = [Standing.from_json(each, test.began) for each in json.loads(text)]
    return found if len(found) == len(hosts) else list(told)
