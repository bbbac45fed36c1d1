"""An interrupt that comes while ranks run: it is told where they stood, as a report at the deadline tells it."""

from __future__ import annotations

from collections.abc import Sequence

from torch_testing_shim._engine.failure_text import failure_report
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.verdict import verdict
from torch_testing_shim._settings import read_settings

__all__ = ["with_report"]


def with_report(interrupt: KeyboardInterrupt, outcomes: Sequence[RankOutcome]) -> KeyboardInterrupt:
    """The interrupt with the report over all ranks as its message, whoever prints it: unittest, pytest or Python.

    Args:
        outcomes: one per rank; of those that still ran, "interrupted".
    """
    found = verdict(outcomes)
    if found.headline:
        interrupt.args = (failure_report(found, outcomes, full_traceback=read_settings().full_traceback),)
    return interrupt.with_traceback(None)
