"""What is to be told of a test whatever its status: noted on its instance while it runs, and read when it has ended."""

from __future__ import annotations

import unittest

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.device_map import shared_mark

__all__ = ["note", "note_sharing", "notes_of"]

#: The attribute of a test's instance that holds its notes.
_NOTES = "_torch_testing_shim_notes"


def note(test: unittest.TestCase, text: str) -> None:
    """Notes one line."""
    setattr(test, _NOTES, (*notes_of(test), text))


def note_sharing(test: unittest.TestCase, ranks: int) -> None:
    """Marks a test whose ranks share devices."""
    device = device_in_use()
    if device.is_shared_by(ranks):
        note(test, shared_mark(ranks, device.count, device.type))


def notes_of(test: object) -> tuple[str, ...]:
    """The notes of a test, in their order."""
    notes: tuple[str, ...] = vars(test).get(_NOTES, ()) if test is not None else ()
    return notes
