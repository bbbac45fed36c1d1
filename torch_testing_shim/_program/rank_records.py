"""What the journal says of the ranks of a test: from the engine's outcomes to the journal's records. Pure, but for the
clock that turns the one's times into the other's."""

from __future__ import annotations

import time
import unittest
from collections.abc import Sequence

from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._shared.journal import RankRecord

__all__ = ["rank_records", "records_of"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: What is kept of the ranks' output in the journal, in characters: of one rank, and of all ranks of a test together.
RANK_OUTPUT, TEST_OUTPUT = 16_384, 262_144


def records_of(test: unittest.TestCase | None) -> tuple[RankRecord, ...]:
    """The records that a test case of several processes keeps of its ranks; empty for a test without ranks."""
    return tuple(vars(test).get("_rank_records", ())) if test is not None else ()  # no question for torch's class


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
    )
