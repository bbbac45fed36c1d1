"""One marked test under torchrun: pytest's process is a rank itself, and runs the test where it is one of the first N.

Fixtures of a wider scope are set up in every process, as for any test; those of the test alone belong to the body.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from _pytest.skipping import xfailed_key

from torch_testing_shim._cases.reused_ranks import note_left
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.controller import TestRanks
from torch_testing_shim._engine.joined.launched_ranks import test_ranks
from torch_testing_shim._engine.joined.world import JOINED, JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_outcomes import skip_reason_of
from torch_testing_shim._engine.rank_steps import RankSteps
from torch_testing_shim._engine.verdict import ExitExpectation, verdict
from torch_testing_shim._isolation.torch_state import set_rng_seed
from torch_testing_shim._program.notes import forget_notes, note_sharing, rank_records
from torch_testing_shim._pytest_ranks.in_rank import HERE, World
from torch_testing_shim._pytest_ranks.rank_item import EndOfRanks, RankItem, seconds_of
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class JoinedItem(RankItem):
    """Stands for pytest's set-up and call of a marked test."""

    def _run(self) -> None:
        item, world, ranks = self._item, JOINED.world, test_ranks()
        assert world is not None, "pytest's processes have joined"
        forget_notes(item)
        note_sharing(item, self._world_size)
        try:
            body = _Body(item, self._world(ranks, world))
            ranks.start(
                _Body,  # for its name
                item.nodeid,
                self._world_size,
                timeout=body.world.seconds,
                rendezvous_file=body.world.rendezvous,
                run_arguments={},
                calls={world.rank: body},
            )
            outcomes = ranks.join(ExitExpectation())
            item._rank_records = rank_records(outcomes, ranks.running.started)
            note_left(item, outcomes)
            self._judge(EndOfRanks(verdict(outcomes), outcomes, 0, "", "", {}))
        finally:
            ranks.close()

    def _world(self, ranks: TestRanks, world: JoinedWorld) -> World:
        seconds = seconds_of(self._item, self._mark)
        wants_folder = "shared_tmp_path" in self._item.fixturenames and world.size >= self._world_size
        return World(
            world.rank,
            self._world_size,
            str(ranks.scratch.rendezvous),
            seconds,
            self._mark.backend,
            _shared_folder(world, seconds) if wants_folder else None,
        )


def _shared_folder(world: JoinedWorld, seconds: float) -> str:
    """Return a folder that rank 0 makes where all hosts see it.

    Raises:
        unittest.SkipTest: no setting names a folder that the hosts share.
    """
    place, question = read_settings().shared_folder, f"{world.current.key}/folder"
    if place is None and len(world.hosts) > 1:
        raise unittest.SkipTest("needs a folder that all hosts share: set TORCH_TESTING_SHIM_SHARED_DIR")
    if world.rank == 0:
        folder = tempfile.mkdtemp(dir=place)
        world.current.folders.append(folder)
        world.exchange.answer(question, folder, 1)
    until = time.monotonic() + seconds
    world.exchange.wait(question, lambda: until)
    return world.exchange.answers(question, [0]).get(0, "")


@dataclass(frozen=True)
class _SoFar:
    """How the body has gone so far, for the fixture of its process group."""

    steps: RankSteps

    @property
    def has_failed(self) -> bool:
        return self.steps.error is not None and not self.has_skipped

    @property
    def has_skipped(self) -> bool:
        return self.steps.error is not None and skip_reason_of(self.steps.error) is not None


class _Body(unittest.TestCase):
    """The body in this process: fixtures of the test alone, its function, the ends of those fixtures."""

    def __init__(self, item: Any = None, world: World | None = None) -> None:
        super().__init__()
        self._item = item
        self._own_world = world

    @property
    def world(self) -> World:
        assert self._own_world is not None, "it is made for a test"
        return self._own_world

    def run(self, result: Any = None) -> Any:
        """Run it, and send its outcome."""
        channel = THIS_RANK.channel
        assert channel is not None, "tests are run in ranks"

        def tell(found: RankOutcome) -> None:
            if found.status.is_exception:
                channel.send(replace(found, expected=self._expects(steps.error)))

        steps = RankSteps(self.world.rank, tell=tell)
        HERE.world, HERE.reports = self.world, _SoFar(steps)
        set_rng_seed()
        try:
            outcome = steps.take(itertools.chain(self._forward(steps), self._back()))
        finally:
            HERE.world = HERE.reports = None
            _let_go_of(steps.error)
            self._item.funcargs.clear()
        if not outcome.status.is_exception:
            channel.send(outcome)
        if not outcome.status.is_bad:
            channel.await_others()
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)

    def _expects(self, error: BaseException | None) -> str | None:
        """Return the reason by which a mark of pytest's expects the exception; None where none does."""
        mark = self._item.stash.get(xfailed_key, None)
        is_meant = mark is not None and (mark.raises is None or isinstance(error, mark.raises))
        return mark.reason if mark is not None and is_meant else None

    def _forward(self, steps: RankSteps) -> Iterator[Callable[[], object]]:
        yield lambda: type(self._item).setup(self._item)
        if not steps.has_ended:
            yield self._call

    def _call(self) -> None:
        type(self._item).runtest(self._item)
        if found := getattr(self._item, "_excinfo", None):  # of a method of unittest's, which raises nothing
            raise found.pop(0).value

    def _back(self) -> Iterator[Callable[[], object]]:
        finalizers = self._item.session._setupstate.stack[self._item][0]
        while len(finalizers) > 1:  # the first is for pytest to call
            yield finalizers.pop()
        yield lambda: type(self._item).teardown(self._item)


def _let_go_of(error: BaseException | None) -> None:
    """Let go of what the frames of an exception hold: the process group, whose connections others wait on."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
