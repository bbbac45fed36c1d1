"""How one rank ended: `RankOutcome`, which travels from the rank to the controller and is completed there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from torch_testing_shim._engine.stacks import Place, main_thread, place_of
from torch_testing_shim._shared.exit_status import signal_name

#: Matches exceptions of a rank whose cause is another rank that is gone or never came.
_LOST_PEER = re.compile(
    r"connection (closed|reset|was reset|refused|aborted)"
    r"|broken pipe"
    r"|closed by peer"
    r"|timeout caused pair closure"
    r"|timed out waiting \d+ms for (recv|send)"
    r"|wait timeout after \d+ms"
    r"|recv.*failed|failed to (recv|send)"
    r"|socket closed|remote process (has terminated|exit)"
    r"|waits in vain for rank \d+",
    re.IGNORECASE,
)


#: `json.dumps`, which a test may have replaced.
_ENCODE = json.JSONEncoder().encode


class PeerFailedError(AssertionError):
    """Raised in a rank whose own part is right, because another rank's is wrong; the message names that rank."""


class CollectiveMismatchError(RuntimeError):
    """The ranks of a group called different collectives; the message says which rank called which."""


class LostPeerError(RuntimeError):
    """Raised in a rank that is a thread and waits for another that has ended and will never come."""


class RankStatus(Enum):
    """How one rank ended."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"  # an assertion did not hold
    ERRORED = "errored"  # another exception
    DIED = "died"  # ended without saying how its test ended, or with an exit status that contradicts it
    HUNG = "hung"  # still running at the deadline
    DEADLOCKED = "deadlocked"  # it and all that still ran certainly waited for each other, before the deadline
    INTERRUPTED = "interrupted"  # still running when the user stopped the run
    SILENT = "silent"  # a process of a launcher's that was not heard any more
    STOPPED = "stopped"  # ended by the harness, after another rank had ended badly

    @property
    def is_exception(self) -> bool:
        return self in (RankStatus.FAILED, RankStatus.ERRORED)

    @property
    def is_hang(self) -> bool:
        return self in (RankStatus.HUNG, RankStatus.DEADLOCKED, RankStatus.INTERRUPTED)

    @property
    def is_bad(self) -> bool:
        """Whether the test cannot pass any more, so that the other ranks need not be waited for."""
        return self not in (RankStatus.PASSED, RankStatus.SKIPPED)


@dataclass(frozen=True)
class RankOutcome:
    """How one rank ended, or one of its subtests."""

    rank: int  # the rank
    status: RankStatus  # how it ended
    ended_at: float = 0.0  # time of its end, in seconds of the machine's monotonic clock
    headline: str = ""  # the exception's type and first line ("ValueError: boom"); empty where there is none
    traceback: str = ""  # the formatted exception, harness frames left out; empty where there is none
    skip_reason: str = ""  # why it skipped; empty where it did not
    pid: int = 0  # its process id; 0 where it is not known
    host: str = ""  # the host that it runs on; empty where all ranks are the controller's
    exit_code: int | None = None  # its exit code; negative for the signal that ended it; None where it was not seen
    output: str = ""  # the last lines of its output
    warnings: tuple[str, ...] = ()  # its Python warnings, "Category: message", in the order in which they came
    stacks: str = ""  # its Python stacks, taken before the harness ended it; empty where it ended by itself
    native_stacks: str = ""  # its native stacks, taken likewise, or why there are none; empty without py-spy
    #: Headline of the exception that its main thread was handling then, or when it lost its peer; empty where there was
    #: none.
    handled: str = ""
    handled_traceback: str = ""  # of that, where `traceback` has it not
    wait: str = ""  # what its main thread waited for then (the value of a `Wait`); empty where it ended by itself
    #: Its log of the collectives that it entered, as `read_log` returns it; None where nothing is known.
    collectives: str | None = None
    finished: bool = False  # whether it said how its test ended (`exit_code` tells what came after that)
    follows_peer: bool = False  # whether its exception was a `PeerFailedError`
    wraps_lost_peer: bool = False  # whether its exception came from another, which said that a peer is gone
    expected: str | None = None  # the reason by which a mark of pytest's expects the exception; None where none does
    subtest: str = ""  # the subtest that raised, as unittest names it ("[message] (i=1)"); empty for the test itself
    subtests: tuple[RankOutcome, ...] = ()  # its failed subtests, in order, whatever became of the rank after them
    #: Its passed subtests, as unittest names them, where the rank came to the end of its test.
    passed_subtests: tuple[str, ...] = ()
    skipped_subtests: tuple[tuple[str, str], ...] = ()  # its skipped subtests, each with its reason, likewise
    #: The rank is reused, and has begun to put back what its test has changed: however its process ends from now on,
    #: the outcome stays.
    is_over: bool = False
    #: Where the rank waits for another test, or has ended after `is_over`, sentences on what this one has left in it;
    #: None where it does neither.
    left: tuple[str, ...] | None = None

    @property
    def lost_peer(self) -> bool:
        """Whether its exception only says that another rank is gone, or did not come."""
        return self.status.is_exception and says_lost_peer(self._message)

    @property
    def _message(self) -> str:
        """The exception's own message, without the source lines of the traceback."""
        _, found, rest = self.traceback.rpartition(self.headline)
        return found + rest if found else self.headline

    @property
    def place(self) -> Place | None:
        """The place where it stood when the harness ended it; None where it ended by itself."""
        return place_of(main_thread(self.stacks))

    @property
    def is_collateral(self) -> bool:
        """Whether it raised an exception that another rank caused."""
        return self.lost_peer or self.follows_peer

    @property
    def is_genuine(self) -> bool:
        """Whether it raised an exception of its own, as far as can be told."""
        return self.status.is_exception and not self.is_collateral and not self.wraps_lost_peer

    @property
    def raised(self) -> tuple[RankOutcome, ...]:
        """Outcomes of its exceptions, in order: of failed subtests, then of its own where that is none of theirs."""
        has_own = self.status.is_exception and not (self.subtest and self.subtests)
        return (*self.subtests, self) if has_own else self.subtests

    @property
    def exit_text(self) -> str:
        """How the process ended: "killed by SIGSEGV", "exit code 3"."""
        if self.exit_code is None:
            return "an unknown exit status"
        if self.exit_code < 0:
            return f"killed by {signal_name(-self.exit_code)}"
        return f"exit code {self.exit_code}"

    def to_json(self) -> str:
        """Write all but its subtests, which have lines of their own on the channel."""
        return _ENCODE(vars(self) | {"status": self.status.value, "subtests": ()})

    @classmethod
    def from_json(cls, text: str) -> RankOutcome:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        try:
            fields = json.loads(text)
            converted = {
                "status": RankStatus(fields["status"]),
                "warnings": tuple(fields.get("warnings", ())),
                "subtests": (),
                "passed_subtests": tuple(fields.get("passed_subtests", ())),
                "skipped_subtests": tuple((name, reason) for name, reason in fields.get("skipped_subtests", ())),
                "left": None if fields.get("left") is None else tuple(fields["left"]),
            }
            return cls(**(fields | converted))
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a rank's outcome: {text[:80]!r}") from error


def says_lost_peer(message: str) -> bool:
    """Whether an exception's message is about another rank that is gone, or did not come."""
    return _LOST_PEER.search(message) is not None


def members_text(outcomes: Sequence[RankOutcome]) -> str:
    """Format the ranks of outcomes for people, host by host where hosts are known: "ranks 0, 1 (host1), rank 2
    (host2)"."""
    hosts = dict.fromkeys(outcome.host for outcome in outcomes)
    parts = {host: ranks_text([outcome.rank for outcome in outcomes if outcome.host == host]) for host in hosts}
    return ", ".join(f"{ranks} ({host})" if host else ranks for host, ranks in parts.items())


def ranks_text(ranks: Sequence[int]) -> str:
    """Format ranks for people: "rank 1", "ranks 0, 2, 3", "ranks 0, 2-4"; runs of three or more are folded."""
    ranks = sorted(set(ranks))
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(parts)
