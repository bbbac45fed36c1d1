"""How the processes come to the body of a test: all are ready, or all learn who is not, and why."""

from __future__ import annotations

import time
from contextlib import suppress

from torch_testing_shim._engine.controller import RankError
from torch_testing_shim._engine.joined.ending import Patience, Standing, end_run
from torch_testing_shim._engine.joined.world import CurrentTest, JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The answer of a rank that runs the test.
_READY = "ready"


def meet(world: JoinedWorld, test: CurrentTest, timeout: float) -> None:
    """Wait until all processes have come to the body of the test, which may take `timeout` seconds.

    Raises:
        RankError: some do not run it: their set-up has skipped or failed.
    """
    with world.awaiting(timeout):
        come(world, test, _READY)
        if not world.exchange.wait(f"{test.key}/come", Patience(world, test, world.exchange, is_brief=True).until):
            stopped = RankOutcome(world.rank, RankStatus.STOPPED, time.monotonic())
            end_run(world, test, world.exchange, Standing(stopped, leaves=True), in_body=False)
        test.began = time.monotonic()
        answers = world.exchange.answers(f"{test.key}/come", world.everyone)
    strays = [rank for rank, said in sorted(answers.items()) if said != _READY]
    if strays:
        first = strays[0]
        who = f"rank {first} ({world.members[first].host})"
        raise RankError(f"ranks disagree: {who} does not run the test: {answers[first]}")


def come(world: JoinedWorld, test: CurrentTest, said: str) -> None:
    """Say that this process has come to the body of the test, or why it does not; only the first time counts."""
    if not test.came:
        test.came = True
        with suppress(RuntimeError):  # a store that is lost is noticed by who waits
            world.exchange.answer(f"{test.key}/come", said, world.size, common=said)
