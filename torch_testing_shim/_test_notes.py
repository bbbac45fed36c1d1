"""What is to be told of a test whatever its status: noted on its instance while it runs, and read when it has ended."""

from __future__ import annotations

import unittest

__all__ = ["note", "notes_of"]

#: The attribute of a test's instance that holds its notes.
_NOTES = "_torch_testing_shim_notes"


def note(test: unittest.TestCase, text: str) -> None:
    """Notes one line."""
    setattr(test, _NOTES, (*notes_of(test), text))


def notes_of(test: object) -> tuple[str, ...]:
    """The notes of a test, in their order."""
    notes: tuple[str, ...] = getattr(test, _NOTES, ())
    return notes
