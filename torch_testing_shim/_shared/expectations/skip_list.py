"""What a test file's process is told: the entries about its file, from which it reads which tests it is to skip.

The runner cannot choose for it, since only that process knows the device. The runner writes, the process reads; only
the standard library is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .expectation import Expect, Expectation
from .lookup import FileExpectations

__all__ = ["reasons_to_skip", "write_told"]


def write_told(expectations: FileExpectations, path: Path) -> bool:
    """Writes the entries to `path` where there is something to skip among them; True where it has.

    Raises:
        OSError: it cannot be written.
    """
    if not any(entry.expect is Expect.SKIP for entry in expectations.entries):
        return False
    rows = [
        {"id": entry.id, "expect": entry.expect.value, "devices": entry.devices, "why": entry.why}
        for entry in expectations.entries
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return True


def reasons_to_skip(path: Path, tests: Iterable[str], device: str) -> dict[str, str]:
    """The tests that are to be skipped on a device type, each with its reason.

    Raises:
        OSError, ValueError: the file is not there, or not what `write_told` has written.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))
    told = FileExpectations(
        tuple(Expectation(row["id"], Expect(row["expect"]), row["why"], devices=tuple(row["devices"])) for row in rows)
    )
    found = {test: told.find(test, device) for test in tests}
    return {
        test: entry.why or f"{entry.id} is expected to be skipped"
        for test, entry in found.items()
        if entry is not None and entry.expect is Expect.SKIP
    }
