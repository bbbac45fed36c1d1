"""One marked test in pytest's process: the fixtures that its ranks share, its ranks, their verdict.

pytest's own protocol goes on for it: set-up, call and tear-down, with every hook. In place of its set-up only shared
fixtures are set up, and in place of its call its ranks run.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from torch_testing_shim._cases.reused_ranks import note_difference, note_left
from torch_testing_shim._cases.world import seconds_for
from torch_testing_shim._engine.controller import TestRanks, raise_verdict
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_warnings import RankWarning
from torch_testing_shim._engine.verdict import ExitExpectation, Verdict, VerdictKind, verdict
from torch_testing_shim._program.notes import forget_notes, note_sharing, rank_records
from torch_testing_shim._pytest_ranks import groups as _for_ranks  # noqa: F401 - so that none has to import it
from torch_testing_shim._pytest_ranks.beside import TIME_LIMIT, lent_terminal, stop_timer
from torch_testing_shim._pytest_ranks.in_rank import HERE, PytestRank
from torch_testing_shim._pytest_ranks.live_output import shown_live
from torch_testing_shim._pytest_ranks.marks import RanksMark
from torch_testing_shim._pytest_ranks.rank_reports import UNEXPECTED_PASS
from torch_testing_shim._pytest_ranks.session_copy import write_session
from torch_testing_shim._pytest_ranks.shared_fixtures import Image, set_up_shared
from torch_testing_shim._pytest_ranks.warnings_summary import pass_on_warnings, warnings_of
from torch_testing_shim._shared.last_collection import settle_last_collection
from torch_testing_shim._shared.rerun_command import repro_on_failure, rerun_line
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_IMAGE = Image()


def start_session(session: Any) -> None:
    """Fork the zygote for a session whose tests have been collected, some of them for ranks."""
    HERE.session = session
    session.config.add_cleanup(_leave_little_to_collect)
    for item in session.items:
        if getattr(item, "ranks", None) is not None:
            STARTER.expect(item.module.__name__)
    _IMAGE.take(session.items[0])
    STARTER.prepare()


def _leave_little_to_collect() -> None:
    """Collect garbage once, and leave out all of torch where pytest collects five times at its end."""
    gc.collect()
    settle_last_collection()


def leave_module() -> None:
    """End ranks that were kept for other tests of a module."""
    STARTER.end_ranks()


def _skip_of(reason: str) -> BaseException:
    """A skip that pytest reports at the test's own line."""
    return pytest.skip.Exception(reason, _use_item_location=True)


def skip_by_devices(item: Any, mark: RanksMark) -> None:
    """Skip a test that needs more accelerators than there are."""
    device = device_in_use()
    if mark.devices > device.count and not (device.may_be_shared and device.count):
        raise _skip_of(f"needs at least {mark.devices} accelerators, found {device.count}")


def seconds_of(item: Any, mark: RanksMark) -> float:
    """Return the seconds that a test's ranks may take: by its mark, by pytest-timeout or by the settings."""
    if item.config.getoption("ranks_pdb") is not None:
        return _DEBUGGED_SECONDS
    limits = [one for one in (mark.timeout, item.stash.get(TIME_LIMIT, None)) if one is not None]
    return min(limits) if limits else seconds_for(item.name.partition("[")[0])


#: Seconds that ranks may take while one of them is debugged.
_DEBUGGED_SECONDS = 86_400.0


#: The verdicts on tests with which nothing is wrong, in one word.
_WORDS = {VerdictKind.PASSED: "passed", VerdictKind.SKIPPED: "skipped"}


@dataclass(frozen=True)
class EndOfRanks:
    """How the ranks of a test ended."""

    verdict: Verdict  # on all of them
    outcomes: tuple[RankOutcome, ...]  # theirs
    processes_left: int  # how many processes they have left
    follows: str  # the test that they had run before, by node id; empty where they were new
    printed: str  # their output where it is shown although nothing is wrong
    warnings: Mapping[RankWarning, Sequence[int]]  # their warnings, with the ranks that gave each

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return _WORDS.get(self.verdict.kind, "failed")


class RankItem:
    """Stands for pytest's set-up and call of a marked test in pytest's process.

    Args:
        item: pytest's item.
        mark: its mark.
        world_size: how many ranks run it.
    """

    def __init__(self, item: Any, mark: RanksMark, world_size: int) -> None:
        #: Whether the exception that has decided the verdict is one that the test is marked to expect; None where no
        #: exception did.
        self.is_expected: bool | None = None
        self._item = item
        self._mark = mark
        self._world_size = world_size

    def set_up(self) -> None:
        """Stands for the item's `setup`."""
        skip_by_devices(self._item, self._mark)
        set_up_shared(self._item)

    def run(self) -> None:
        """Stands for the item's `runtest`: run the ranks and raise their verdict.

        Raises:
            RankFailure, RankError: the test has not passed.
            Skipped, XFailed: pytest's, for a skip and an expected failure.
        """
        self.is_expected = None
        with repro_on_failure(rerun_command(self._item)):
            self._run()

    def _run(self) -> None:
        item = self._item
        stop_timer(item)
        forget_notes(item)
        HERE.session = item.session
        if _IMAGE.is_stale_for(item):
            STARTER.renew()
            _IMAGE.take(item)
        note_sharing(item, self._world_size)
        end = self._end_of_ranks(reuses=self._may_reuse())
        if end.follows and end.verdict.kind is not VerdictKind.PASSED:
            first, end = end, self._end_of_ranks(reuses=False)
            note_difference(item, end.word, first.word, first.follows)
        pass_on_warnings(item, end.warnings)
        print(end.printed, end="")
        self._judge(end)

    def _may_reuse(self) -> bool:
        """Return whether the test runs in reused ranks. One that is expected to fail has fresh ranks: in others it
        could fail for another reason, or pass."""
        wants = read_settings().reuse_ranks if self._mark.reuse is None else self._mark.reuse
        is_expected = any(self._item.iter_markers("xfail"))
        return wants and not is_expected and self._item.config.getoption("ranks_pdb") is None

    def _end_of_ranks(self, *, reuses: bool) -> EndOfRanks:
        """Run the ranks and return how they ended."""
        item = self._item
        ranks = TestRanks()
        try:
            arguments = self._arguments()
            write_session(item, ranks.scratch)
            ranks.start(
                PytestRank,
                item.nodeid,
                self._world_size,
                timeout=arguments["seconds"],
                rendezvous_file=str(ranks.scratch.rendezvous),
                run_arguments=arguments,
                reuses=reuses,
            )
            with shown_live(item.config, ranks.running), lent_terminal(arguments["has_terminal"] is not None):
                outcomes = ranks.join(ExitExpectation(ignored=arguments["has_terminal"] is not None))
            item._rank_records = rank_records(outcomes, ranks.running.started)
            note_left(item, outcomes)
            found = verdict(outcomes)
            is_shown = found.kind in _WORDS and item.config.getoption("capture", "no") != "no"
            return EndOfRanks(
                found,
                outcomes,
                ranks.running.processes_left,
                ranks.follows.removeprefix(f"{PytestRank.__name__}."),
                ranks.printed() if is_shown else "",
                warnings_of(ranks.running.jobs),
            )
        finally:
            ranks.close()

    def _judge(self, end: EndOfRanks) -> None:
        found, cause = end.verdict, end.verdict.cause
        if found.kind is VerdictKind.SKIPPED:
            reason = found.headline
            if reason.startswith("xfail: "):
                pytest.xfail(reason.removeprefix("xfail: "))
            raise _skip_of(reason)
        outcomes = end.outcomes
        if cause is not None and cause.status.is_exception:
            unexpected = [one for one in outcomes if one.is_genuine and one.expected is None]
            self.is_expected = cause.expected is not None and not unexpected
            if self.is_expected:
                raise pytest.xfail.Exception(cause.expected)
            outcomes = tuple(one if one.expected is None else replace(one, ended_at=math.inf) for one in outcomes)
        raise_verdict(outcomes, ExitExpectation(), end.processes_left)
        for one in outcomes:  # a mark that only the ranks have, since the test or a fixture has added it
            if one.headline.startswith(UNEXPECTED_PASS) and not any(self._item.iter_markers("xfail")):
                pytest.fail(one.headline, pytrace=False)

    def _arguments(self) -> dict[str, Any]:
        """Return what a rank's `_run` is given."""
        item, names = self._item, self._item.fixturenames
        factory = getattr(item.config, "_tmp_path_factory", None) if "tmp_path_factory" in names else None
        shared = factory.mktemp("shared") if factory is not None and "shared_tmp_path" in names else None
        return {
            "world_size": self._world_size,
            "seconds": seconds_of(item, self._mark),
            "backend": self._mark.backend,
            "has_terminal": item.config.getoption("ranks_pdb"),
            "base_folder": str(factory.getbasetemp()) if factory is not None else None,
            "shared_folder": str(shared) if shared is not None else None,
        }


def rerun_command(item: Any) -> str | None:
    """The command that runs a test again."""
    return rerun_line(str(item.path), item.nodeid.split("::")[1:], read_settings(), is_pytests=True)
