"""Tests on the skip list: they are left out before anything of them is set up, and logged as skipped."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch_testing_shim._program.log import TestLog
from torch_testing_shim._shared.journal import JournalEntry, TestStatus


class SkipListError(ValueError):
    """The skip list cannot be read; the message is one sentence."""


def tests_to_skip(path: Path | None, names: Sequence[str], device: str) -> dict[str, str]:
    """The tests among `names` to skip on a device type, each with its reason.

    Args:
        path: the skip list (see `_shared.expectations`); None where there is none.

    Raises:
        SkipListError: it cannot be read.
    """
    if path is None:
        return {}
    from torch_testing_shim._shared.expectations import (
        reasons_to_skip,  # only here: few runs have a skip list
    )

    try:
        return reasons_to_skip(path, names, device)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SkipListError(f"cannot read which tests to skip from {path}: {error}") from None


def leave_out(names: Sequence[str], skipped: Mapping[str, str], log: TestLog) -> list[str]:
    """Logs the tests that are skipped; returns the others."""
    for name in names:
        if name in skipped:
            log.start(name)
            log.end(JournalEntry(name, TestStatus.SKIPPED, 0.0, skipped[name], started_at=time.time()))
            print(f"{name} ... skipped {skipped[name]!r}", file=sys.stderr)
    return [name for name in names if name not in skipped]
