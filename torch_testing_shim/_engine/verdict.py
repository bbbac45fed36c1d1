"""Folds the outcomes of all ranks into the verdict over their test. Pure.

Unanimity is the rule: a test passes when every rank says that its body ran and passed. Silence is a failure.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from torch_testing_shim._engine.collectives import Parting, partings
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, members_text, says_lost_peer
from torch_testing_shim._engine.stacks import Place
from torch_testing_shim._engine.waits import Wait


class VerdictKind(Enum):
    """The kinds of verdicts."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """The verdict over a test."""

    kind: VerdictKind  # passed, skipped, failed (an assertion) or error
    headline: str = ""  # one line: the cause and the guilty rank, or the reason of a skip; empty for a pass
    cause: RankOutcome | None = None  # the outcome that decided; None where no single rank did


@dataclass(frozen=True)
class ExitExpectation:
    """The exit codes that a test expects of its ranks."""

    #: The exit code that rank 0 has to end with (upstream's `special_return_code_checks`); None for any.
    code: int | None = None
    ignored: bool = False  # whether exit codes do not count at all (upstream's `skip_return_code_checks`)

    @property
    def allows_death(self) -> bool:
        """Whether a rank's death is part of the test, so that its peers are waited for."""
        return self.ignored or self.code is not None


def verdict(outcomes: Sequence[RankOutcome], expectation: ExitExpectation = ExitExpectation()) -> Verdict:
    """Fold the outcomes of all ranks of a test into one verdict; the first rule that fits decides.

    Args:
        outcomes: one per rank, at least one.
        expectation: the exit codes that the test expects.
    """
    assert outcomes, "a test without ranks is skipped before it is judged"
    ends = [end for outcome in outcomes for end in (*outcome.subtests, outcome)]
    by_time = sorted(ends, key=lambda outcome: outcome.ended_at)
    raised = [o for o in by_time if o.status.is_exception and not o.is_collateral]
    first = next((o for o in by_time if _is_cause(o, expectation)), None)
    if first is not None:
        if first.status is RankStatus.DIED:
            return _death_verdict(first, outcomes)
        likewise = [o for o in outcomes if o.status.is_exception and o.headline == first.headline]
        return _after_exception(_exception_verdict(first), likewise)
    silent = [o for o in by_time if o.status is RankStatus.SILENT]
    if silent:
        return _silence_verdict(outcomes, silent)
    hung = [o for o in by_time if o.status.is_hang]
    if hung:
        return _hang_verdict(outcomes, hung)
    if expectation.allows_death and not raised:
        return _expected_exit_verdict(outcomes, expectation)
    lost = [o for o in by_time if o.is_collateral]
    if lost or raised:
        return _lost_peer_verdict(outcomes, lost, raised)
    stopped = [o for o in by_time if o.status is RankStatus.STOPPED]
    if stopped:
        return Verdict(VerdictKind.ERROR, f"{_rank(stopped[0])} was stopped before it had finished", stopped[0])
    return _peaceful_verdict(outcomes)


def _is_cause(outcome: RankOutcome, expectation: ExitExpectation) -> bool:
    """Whether the rank's end does not follow from another rank's, as far as can be told."""
    if outcome.status is RankStatus.DIED:
        return not expectation.allows_death
    return outcome.is_genuine


def _death_verdict(cause: RankOutcome, outcomes: Sequence[RankOutcome]) -> Verdict:
    died = Verdict(VerdictKind.ERROR, f"{_rank(cause)} {_death_text(cause)}", cause)
    aborted = cause.exit_code == -signal.SIGABRT  # as gloo ends a rank that gets other data than it expects
    return _blaming(_mismatch(outcomes), died, outcomes) if aborted else died


def _blaming(parting: Parting | None, found: Verdict, outcomes: Sequence[RankOutcome]) -> Verdict:
    """Put the ranks that parted from the others at the front of a verdict, if any did."""
    if parting is None:
        return found
    parted = parting.headline_by(lambda ranks: members_text([o for o in outcomes if o.rank in ranks]))
    return replace(found, headline=f"{parted}; {found.headline}")


def _after_exception(found: Verdict, suspects: Sequence[RankOutcome]) -> Verdict:
    """Put an exception that one of the ranks was still handling at the front of a verdict, if there was one: where a
    `finally` waits for other ranks, it is why they parted. A rank that only waits for another is no suspect."""
    handling = (o for o in suspects if o.handled and not says_lost_peer(o.handled))
    if (one := next(handling, None)) is None:
        return found
    return replace(found, headline=f"{_rank(one)} was still handling {one.handled}; {found.headline}", cause=one)


def _mismatch(outcomes: Sequence[RankOutcome]) -> Parting | None:
    """Return the first collective that ranks entered differently."""
    return next((parting for parting in _partings(outcomes) if parting.is_mismatch), None)


def _partings(outcomes: Sequence[RankOutcome]) -> list[Parting]:
    return partings({outcome.rank: outcome.collectives for outcome in outcomes})


def _exception_verdict(cause: RankOutcome) -> Verdict:
    kind = VerdictKind.FAILED if cause.status is RankStatus.FAILED else VerdictKind.ERROR
    where = f" in subtest {cause.subtest}" if cause.subtest else ""
    return Verdict(kind, f"{_rank(cause)} {cause.status.value}{where}: {cause.headline}", cause)


def _expected_exit_verdict(outcomes: Sequence[RankOutcome], expectation: ExitExpectation) -> Verdict:
    first = min(outcomes, key=lambda outcome: outcome.rank)
    if expectation.ignored or first.exit_code == expectation.code:
        return Verdict(VerdictKind.PASSED)
    headline = f"{_rank(first)} ended with {first.exit_text}, but the test expects exit code {expectation.code}"
    return Verdict(VerdictKind.FAILED, headline, first)


def _silence_verdict(outcomes: Sequence[RankOutcome], silent: Sequence[RankOutcome]) -> Verdict:
    """Names the ranks that were not heard any more: their host is gone or cut off, or they stand still as a whole."""
    others = [o for o in outcomes if o.status is not RankStatus.SILENT]
    headline = f"nothing was heard from {members_text(silent)}"
    return Verdict(VerdictKind.ERROR, f"{headline}, says {members_text(others)}" if others else headline, silent[0])


def _hang_verdict(outcomes: Sequence[RankOutcome], hung: Sequence[RankOutcome]) -> Verdict:
    """Names the ranks that others waited for first; where all waited, all of them, after those that entered another
    collective."""
    by_rank = sorted(hung, key=lambda outcome: outcome.rank)
    unmatched = {rank for parting in _partings(outcomes) for rank in parting.entered}
    waiting = [o for o in by_rank if _is_waiting(o, unmatched)]
    awaited = [o for o in by_rank if o not in waiting]
    leading = awaited or waiting
    if hung[0].status is RankStatus.DEADLOCKED:
        parts = [f"deadlock: {_standing(leading)}"]
    else:
        when = "when interrupted" if hung[0].status is RankStatus.INTERRUPTED else "at the deadline"
        parts = [f"{members_text(leading)} still ran {when}{_places(leading, ', ')}"]
    if awaited and waiting:
        parts.append(f"{members_text(waiting)} waited{_places(waiting, ' ')}")
    ended = [o for o in outcomes if not o.status.is_hang]
    if ended:
        parts.append(f"{members_text(ended)} had ended")
    found = Verdict(VerdictKind.ERROR, "; ".join(parts), leading[0])
    # gloo may not notice that ranks bring other data, and a test that starts late has no time left for the group's own
    is_blind = not awaited and hung[0].status is RankStatus.HUNG
    # nor does a deadlock at one place tell who entered what
    is_mute = not awaited and len({o.place for o in leading}) == 1
    return _after_exception(_blaming(_mismatch(outcomes), found, outcomes) if is_blind or is_mute else found, leading)


def _is_waiting(outcome: RankOutcome, unmatched: Collection[int]) -> bool:
    """Whether the rank waited for others. A rank inside C++ did if it entered a collective that another has not."""
    if outcome.wait == Wait.NATIVE.value:
        return outcome.rank in unmatched
    return outcome.wait == Wait.COLLECTIVE.value or (outcome.place is not None and outcome.place.is_waiting)


def _places(outcomes: Sequence[RankOutcome], before_one: str) -> str:
    """Format where ranks stand, to follow their names; `before_one` is put before a single place."""
    if not any(o.place for o in outcomes):
        return ""
    return f"{before_one}{outcomes[0].place}" if len({o.place for o in outcomes}) == 1 else f": {_standing(outcomes)}"


def _standing(outcomes: Sequence[RankOutcome]) -> str:
    """Format ranks with where they stand: "rank 0 in recv (x.py:3), rank 1 in send (x.py:5)"."""
    groups: dict[Place | None, list[RankOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.place, []).append(outcome)
    return ", ".join(f"{members_text(ranks)} {place or 'somewhere'}" for place, ranks in groups.items())


def _lost_peer_verdict(
    outcomes: Sequence[RankOutcome], lost: Sequence[RankOutcome], wrapping: Sequence[RankOutcome]
) -> Verdict:
    """Blames a rank that skipped, entered something else or never came, else the first that noticed. No rank has failed
    by itself.

    Args:
        outcomes: outcomes of all ranks.
        lost: outcomes of the ranks that lost a peer, by time.
        wrapping: outcomes of those that raised something else because of it, by time.
    """
    waiting = members_text((*lost, *wrapping))
    skipped = [o for o in outcomes if o.status is RankStatus.SKIPPED]
    if skipped:
        who = members_text(skipped)
        headline = f"ranks disagree: {who} skipped ({skipped[0].skip_reason}), {waiting} went on"
        return Verdict(VerdictKind.ERROR, headline, skipped[0])
    noticed = _exception_verdict((*wrapping, *lost)[0])
    if (mismatch := _mismatch(outcomes)) is not None:
        return _after_exception(_blaming(mismatch, noticed, outcomes), outcomes)
    awaited = [o for o in outcomes if o.status is RankStatus.STOPPED]
    if wrapping and not (lost and awaited):
        return noticed
    if awaited:
        headline = f"{waiting} waited in vain for {members_text(awaited)}: {lost[0].headline}"
        return _after_exception(Verdict(VerdictKind.ERROR, headline, awaited[0]), awaited)
    return _after_exception(_blaming(next(iter(_partings(outcomes)), None), noticed, outcomes), outcomes)


def _peaceful_verdict(outcomes: Sequence[RankOutcome]) -> Verdict:
    """Compare ranks that all passed or skipped."""
    for one in outcomes:
        for name, reason in one.skipped_subtests:
            if passed := [o for o in outcomes if name in o.passed_subtests]:
                skipped_it = f"{_rank(one)} skipped subtest {name} ({reason})"
                return Verdict(
                    VerdictKind.ERROR, f"ranks disagree: {skipped_it}, {members_text(passed)} passed it", one
                )
    skipped = [o for o in outcomes if o.status is RankStatus.SKIPPED]
    if not skipped:
        return Verdict(VerdictKind.PASSED)
    if len(skipped) == len(outcomes):
        return Verdict(VerdictKind.SKIPPED, skipped[0].skip_reason)
    passed = [o for o in outcomes if o.status is RankStatus.PASSED]
    headline = (
        f"ranks disagree: {members_text(skipped)} skipped ({skipped[0].skip_reason}), {members_text(passed)} passed"
    )
    return Verdict(VerdictKind.ERROR, headline, skipped[0])


def _death_text(outcome: RankOutcome) -> str:
    after = "after its test had ended" if outcome.finished else "without finishing its test"
    return f"(pid {outcome.pid}) died: {outcome.exit_text}, {after}"


def _rank(outcome: RankOutcome) -> str:
    return members_text([outcome])
