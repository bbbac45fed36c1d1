"""Warnings of ranks in pytest's summary of warnings, whatever became of the test."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.outcome import ranks_text
from torch_testing_shim._engine.rank_warnings import RankWarning, read_warnings


def warnings_of(jobs: Sequence[RankJob]) -> dict[RankWarning, list[int]]:
    """Return the warnings of a test's ranks, each with the ranks that gave it."""
    found: dict[RankWarning, list[int]] = {}
    for job in jobs:
        for one in read_warnings(job.folder.warnings(job.rank)):
            found.setdefault(one, []).append(job.rank)
    return found


def pass_on_warnings(item: Any, found: Mapping[RankWarning, Sequence[int]]) -> None:
    """Have pytest count the warnings of a test's ranks, each once."""
    for one, ranks in found.items():
        given = {"warning_message": _message(one, ranks), "nodeid": item.nodeid, "when": "runtest", "location": None}
        item.ihook.pytest_warning_recorded.call_historic(kwargs=given)


def _message(one: RankWarning, ranks: Sequence[int]) -> warnings.WarningMessage:
    category = getattr(sys.modules.get(one.module), one.category, None)
    text = one.message
    if not (isinstance(category, type) and issubclass(category, Warning)):  # it is defined in a function
        category, text = UserWarning, str(one)
    return warnings.WarningMessage(f"{text} ({ranks_text(ranks)})", category, one.file, one.line)
