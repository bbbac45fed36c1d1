"""How the processes of a launch find each other, also after torchrun has restarted them.

Its store outlives them and still has what the ones before have said, so each process says a mark that no other has.
Rank 0 calls the ones whose marks it sees. When each has answered to its own mark, they run below a prefix of their own:

    every rank    mark/3 = "ab12"                  answers where the call has its mark    > the run's prefix
    rank 0                         call = run, marks
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from torch_testing_shim._engine.joined.exchange import Exchange

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How often a process looks for the others, in seconds, and how much less often for each process that does.
_LOOK_SECONDS, _FOR_EACH_RANK = 0.01, 0.001
_CALL = "call"
#: The key of a sentence about a process that cannot come, where somebody knows of it.
ABSENT = "absent"


class MissingRanksError(RuntimeError):
    """Some processes did not come; the message is a sentence that says which."""

    def __init__(self, why: str, ranks: Sequence[int] = ()) -> None:
        super().__init__(f"torchrun's processes did not meet: {why}")
        self.ranks = ranks  # these; empty where another process has said why one cannot come

    @classmethod
    def of(cls, ranks: Sequence[int], when: str) -> MissingRanksError:
        """Return the error that nothing was heard from these ranks, `when` ("within 5 s")."""
        return cls(f"nothing was heard from rank {', '.join(map(str, ranks))} {when}", ranks)


def arrive(exchange: Exchange, rank: int, size: int, seconds: float) -> str:
    """Wait until all processes of this start have come, and return the name of their run: no other start has it.

    Args:
        exchange: in the part of the store that all starts share.
        seconds: how long to wait.

    Raises:
        MissingRanksError: some did not come.
        StoreLostError: the store does not answer.
    """
    store, own, called, answered = exchange.store, uuid.uuid4().hex, list[str](), ""
    until = time.monotonic() + seconds
    store.set(f"mark/{rank}", own)
    marks = [f"mark/{each}" for each in range(size)]
    while True:
        if rank == 0 and store.has(*marks) and (found := store.get(marks)) != called:
            called = found
            store.set(_CALL, json.dumps([uuid.uuid4().hex, called]))
        if store.has(_CALL):
            run, names = json.loads(store.get([_CALL])[0])
            if len(names) == size and names[rank] == own:
                if answered != run:
                    exchange.answer(f"{run}/here", "", size)
                    answered = run
                if store.has(f"{run}/here/all"):
                    return str(run)
        if store.has(ABSENT):
            raise MissingRanksError(store.get([ABSENT])[0])
        if time.monotonic() >= until:
            raise MissingRanksError.of(_missing(exchange, answered, rank, size), f"within {seconds:.0f} s")
        time.sleep(_LOOK_SECONDS + _FOR_EACH_RANK * size)


def _missing(exchange: Exchange, run: str, rank: int, size: int) -> list[int]:
    """Return the ranks that have not come; rank 0 where it alone has not called this process."""
    if not run:
        return unmarked(exchange, size) or [0]
    here = exchange.answers(f"{run}/here", range(size))
    return [each for each in range(size) if each not in here]


def unmarked(exchange: Exchange, size: int) -> list[int]:
    """Return the ranks of which no process of the launch has ever come.

    Raises:
        StoreLostError: the store does not answer.
    """
    return [each for each in range(size) if not exchange.store.has(f"mark/{each}")]
