"""What the schedule has to know of a file before it runs: read off its source once, and never by importing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..process.command import FileCommand
from ..process.slots import ranks_in_source
from ..process.start import imports_torch
from .selection import FileSelection

__all__ = ["FileFacts", "read_facts"]


@dataclass(frozen=True)
class FileFacts:
    """What a file's source tells.

    Attributes:
        imports_torch: it imports torch itself.
        ranks: the ranks of its largest test.
    """

    imports_torch: bool = False
    ranks: int = 1


def read_facts(selection: FileSelection, command_for: Callable[[FileSelection], FileCommand]) -> FileFacts:
    """Reads a file's source; of one that cannot be read, its process will tell."""
    try:
        with open(command_for(selection).path, "rb") as stream:
            source = stream.read()
    except OSError:
        return FileFacts()
    return FileFacts(imports_torch(source), ranks_in_source(source))
