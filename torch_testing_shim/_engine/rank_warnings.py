"""A rank's Python warnings, in a file of their own: one JSON object a line. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

#: Bytes that are read of a rank's warnings: all, unless a test gives tens of thousands.
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class RankWarning:
    """One warning, as `warnings.warn` was asked for it."""

    #: Where its class is found, by module and name.
    module: str
    category: str
    message: str  # its text
    #: Where it was given.
    file: str
    line: int

    @classmethod
    def of(cls, message: Warning | str, category: type[Warning], file: str, line: int) -> RankWarning:
        """Return the record of what `warnings.showwarning` is called with."""
        return cls(category.__module__, category.__name__, str(message), file, line)

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    def __str__(self) -> str:
        return f"{self.category}: {self.message}"


def read_warnings(path: Path) -> tuple[RankWarning, ...]:
    """Return the warnings in a file, in the order in which they came; none where it is missing."""
    with suppress(FileNotFoundError), open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _READ_BYTES))
        return tuple(_parsed(stream.read().decode(errors="replace").splitlines()))
    return ()


def _parsed(lines: Sequence[str]) -> list[RankWarning]:
    found = []
    for line in lines:
        with suppress(ValueError, TypeError):  # the first line may be cut, the last torn
            found.append(RankWarning(**json.loads(line)))
    return found
