"""How ranks end, and what that makes of their test: `RankOutcome` and the pure fold `verdict()` over all ranks.

Unanimity is the rule: a test passes when every rank says that its body ran and passed. Silence is a failure.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

__all__ = [
    "ExitExpectation",
    "PeerFailedError",
    "RankOutcome",
    "RankStatus",
    "Verdict",
    "VerdictKind",
    "ranks_text",
    "verdict",
]

#: What a rank's exception says when the fault lies with another rank that is gone or never came.
_LOST_PEER = re.compile(
    r"connection (closed|reset|was reset|refused|aborted)"
    r"|broken pipe"
    r"|closed by peer"
    r"|timed out waiting \d+ms for (recv|send)"
    r"|wait timeout after \d+ms"
    r"|recv.*failed|failed to (recv|send)"
    r"|socket closed|remote process has terminated",
    re.IGNORECASE,
)


class PeerFailedError(AssertionError):
    """Raised in a rank whose own part is in order, because another rank's is not; the message names that rank."""


class RankStatus(Enum):
    """How one rank ended."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"  # an assertion did not hold
    ERRORED = "errored"  # another exception
    DIED = "died"  # ended without saying how its test ended, or with an exit status that contradicts it
    HUNG = "hung"  # still running at the deadline
    STOPPED = "stopped"  # ended by the harness, after another rank had ended badly

    @property
    def is_exception(self) -> bool:
        return self in (RankStatus.FAILED, RankStatus.ERRORED)

    @property
    def is_bad(self) -> bool:
        """True where the other ranks need not be waited for: the test cannot pass any more."""
        return self not in (RankStatus.PASSED, RankStatus.SKIPPED)


@dataclass(frozen=True)
class RankOutcome:
    """How one rank ended.

    Attributes:
        rank: the rank.
        status: how it ended.
        ended_at: when, in seconds of the machine's monotonic clock.
        headline: "ValueError: boom": the exception's type and first line; empty where there is none.
        traceback: the formatted exception, harness frames left out; empty where there is none.
        skip_reason: why it skipped; empty where it did not.
        pid: its process id, 0 where it is not known.
        exit_code: its exit code; negative for the signal that ended it; None where it was not seen.
        output: the last lines that it printed.
        stacks: its Python stacks, taken before the harness ended it; empty where it ended by itself.
        finished: it said how its test ended (what came after that is told by `exit_code`).
        follows_peer: its exception was a `PeerFailedError`.
    """

    rank: int
    status: RankStatus
    ended_at: float = 0.0
    headline: str = ""
    traceback: str = ""
    skip_reason: str = ""
    pid: int = 0
    exit_code: int | None = None
    output: str = ""
    stacks: str = ""
    finished: bool = False
    follows_peer: bool = False

    @property
    def lost_peer(self) -> bool:
        """True for an exception that says no more than that another rank is gone, or did not come."""
        return self.status.is_exception and _LOST_PEER.search(self.traceback) is not None

    @property
    def is_collateral(self) -> bool:
        """True for an exception whose cause lies with another rank."""
        return self.lost_peer or self.follows_peer

    @property
    def exit_text(self) -> str:
        """How the process ended: "killed by SIGSEGV", "exit code 3"."""
        if self.exit_code is None:
            return "an unknown exit status"
        if self.exit_code < 0:
            return f"killed by {_signal_name(-self.exit_code)}"
        return f"exit code {self.exit_code}"

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"status": self.status.value})

    @classmethod
    def from_json(cls, text: str) -> RankOutcome:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        try:
            fields = json.loads(text)
            return cls(**(fields | {"status": RankStatus(fields["status"])}))
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a rank's outcome: {text[:80]!r}") from error


class VerdictKind(Enum):
    """What a test's ranks make of the test."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """The verdict over a test.

    Attributes:
        kind: passed, skipped, failed (an assertion) or error.
        headline: one line: the cause and the guilty rank; the reason of a skip; empty for a pass.
        cause: the outcome that decided, or None where no single rank did.
    """

    kind: VerdictKind
    headline: str = ""
    cause: RankOutcome | None = None


@dataclass(frozen=True)
class ExitExpectation:
    """What a test said of its ranks' exit codes.

    Attributes:
        code: rank 0 has to end with this exit code (upstream's `special_return_code_checks`); None for no such wish.
        ignored: exit codes do not count at all (upstream's `skip_return_code_checks`).
    """

    code: int | None = None
    ignored: bool = False

    @property
    def allows_death(self) -> bool:
        """True where a rank that dies is part of the test, so that its peers are to be waited for."""
        return self.ignored or self.code is not None


def verdict(outcomes: Sequence[RankOutcome], expectation: ExitExpectation = ExitExpectation()) -> Verdict:
    """Folds the outcomes of all ranks of a test into one verdict; the first rule that fits decides.

    Args:
        outcomes: one per rank, at least one.
        expectation: what the test said of exit codes.
    """
    assert outcomes, "a test without ranks is skipped before it is judged"
    by_time = sorted(outcomes, key=lambda outcome: outcome.ended_at)
    genuine = [o for o in by_time if o.status.is_exception and not o.is_collateral]
    if genuine:
        return _exception_verdict(genuine[0])
    hung = [o for o in by_time if o.status is RankStatus.HUNG]
    died = [o for o in by_time if o.status is RankStatus.DIED]
    if expectation.allows_death and not hung:
        return _expected_exit_verdict(outcomes, expectation)
    if died:
        return Verdict(VerdictKind.ERROR, f"{_rank(died[0])} {_death_text(died[0])}", died[0])
    if hung:
        return _hang_verdict(outcomes, hung)
    lost = [o for o in by_time if o.is_collateral]
    if lost:
        return _lost_peer_verdict(outcomes, lost)
    stopped = [o for o in by_time if o.status is RankStatus.STOPPED]
    if stopped:
        return Verdict(VerdictKind.ERROR, f"{_rank(stopped[0])} was stopped before it had finished", stopped[0])
    return _peaceful_verdict(outcomes)


def ranks_text(ranks: Sequence[int]) -> str:
    """The ranks as people write them: "rank 1", "ranks 0, 2, 3", "ranks 0, 2-4"; runs of three or more are folded."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(parts)


def _exception_verdict(cause: RankOutcome) -> Verdict:
    kind = VerdictKind.FAILED if cause.status is RankStatus.FAILED else VerdictKind.ERROR
    return Verdict(kind, f"{_rank(cause)} {cause.status.value}: {cause.headline}", cause)


def _expected_exit_verdict(outcomes: Sequence[RankOutcome], expectation: ExitExpectation) -> Verdict:
    first = min(outcomes, key=lambda outcome: outcome.rank)
    if expectation.ignored or first.exit_code == expectation.code:
        return Verdict(VerdictKind.PASSED)
    headline = f"{_rank(first)} ended with {first.exit_text}, but the test expects exit code {expectation.code}"
    return Verdict(VerdictKind.FAILED, headline, first)


def _hang_verdict(outcomes: Sequence[RankOutcome], hung: Sequence[RankOutcome]) -> Verdict:
    finished = [o.rank for o in outcomes if o.status is not RankStatus.HUNG]
    rest = f"; {ranks_text(finished)} had ended" if finished else ""
    return Verdict(VerdictKind.ERROR, f"{ranks_text([o.rank for o in hung])} still ran at the deadline{rest}", hung[0])


def _lost_peer_verdict(outcomes: Sequence[RankOutcome], lost: Sequence[RankOutcome]) -> Verdict:
    """Nobody failed by itself: the cause is a rank that skipped or never came, else the first that noticed."""
    waiting = ranks_text([o.rank for o in lost])
    skipped = [o for o in outcomes if o.status is RankStatus.SKIPPED]
    if skipped:
        who = ranks_text([o.rank for o in skipped])
        headline = f"ranks disagree: {who} skipped ({skipped[0].skip_reason}), {waiting} went on"
        return Verdict(VerdictKind.ERROR, headline, skipped[0])
    awaited = [o for o in outcomes if o.status is RankStatus.STOPPED]
    if awaited:
        headline = f"{waiting} waited in vain for {ranks_text([o.rank for o in awaited])}: {lost[0].headline}"
        return Verdict(VerdictKind.ERROR, headline, awaited[0])
    return _exception_verdict(lost[0])


def _peaceful_verdict(outcomes: Sequence[RankOutcome]) -> Verdict:
    """Every rank passed or skipped."""
    skipped = [o for o in outcomes if o.status is RankStatus.SKIPPED]
    if not skipped:
        return Verdict(VerdictKind.PASSED)
    if len(skipped) == len(outcomes):
        return Verdict(VerdictKind.SKIPPED, skipped[0].skip_reason)
    passed = [o.rank for o in outcomes if o.status is RankStatus.PASSED]
    headline = (
        f"ranks disagree: {ranks_text([o.rank for o in skipped])} skipped ({skipped[0].skip_reason}), "
        f"{ranks_text(passed)} passed"
    )
    return Verdict(VerdictKind.ERROR, headline, skipped[0])


def _death_text(outcome: RankOutcome) -> str:
    after = "after its test had ended" if outcome.finished else "without finishing its test"
    return f"(pid {outcome.pid}) died: {outcome.exit_text}, {after}"


def _rank(outcome: RankOutcome) -> str:
    return f"rank {outcome.rank}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
