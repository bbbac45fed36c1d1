"""Notes on a test's instance, made while it runs: lines for its report, and records of its ranks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._shared.device_map import shared_mark
from torch_testing_shim._shared.journal import RankRecord

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The attribute of a test's instance that holds its notes.
NOTES = "_torch_testing_shim_notes"


def note(test: object, text: str) -> None:
    """Note one line."""
    setattr(test, NOTES, (*notes_of(test), text))


def forget_notes(test: object) -> None:
    """Drop the notes of a test that runs again."""
    vars(test).pop(NOTES, None)


def note_sharing(test: object, ranks: int) -> None:
    """Mark a test whose ranks share devices."""
    device = device_in_use()
    if device.is_shared_by(ranks):
        note(test, shared_mark(ranks, device.count, device.type))


def notes_of(test: object) -> tuple[str, ...]:
    """The notes of a test, in their order."""
    notes: tuple[str, ...] = vars(test).get(NOTES, ()) if test is not None else ()
    return notes


#: Characters of output that the journal keeps of one rank, and of all ranks of a test together.
RANK_OUTPUT, TEST_OUTPUT = 16_384, 262_144


def records_of(test: object) -> tuple[RankRecord, ...]:
    """The records that a test case of several processes keeps of its ranks; empty for a test without ranks."""
    return tuple(vars(test).get("_rank_records", ())) if test is not None else ()  # `getattr` could make a graft


def rank_records(outcomes: Sequence[RankOutcome], started: Sequence[float]) -> tuple[RankRecord, ...]:
    """One record per rank.

    Args:
        outcomes: how the ranks ended, in their order.
        started: when each was started, on the monotonic clock.
    """
    epoch = time.time() - time.monotonic()
    output_size = min(RANK_OUTPUT, TEST_OUTPUT // max(1, len(outcomes)))
    return tuple(_record(o, began, epoch, output_size) for o, began in zip(outcomes, started, strict=True))


def _record(outcome: RankOutcome, began: float, epoch: float, output_size: int) -> RankRecord:
    is_quiet = outcome.status is RankStatus.PASSED
    return RankRecord(
        rank=outcome.rank,
        status=outcome.status.value,
        pid=outcome.pid,
        started_at=round(epoch + began, 6),
        seconds=round(max(0.0, outcome.ended_at - began), 6),
        exit_code=outcome.exit_code,
        headline=outcome.headline or outcome.skip_reason,
        output="" if is_quiet else outcome.output[-output_size:],
        host=outcome.host,
    )
