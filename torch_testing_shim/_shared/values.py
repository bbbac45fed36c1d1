"""Values given as text, in a variable of the environment or on a command line: readers, and the way back.

A reader takes text and returns a value. It raises `Unusable` with what the text must be, as in "a whole number from 1";
the caller makes a sentence of it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Unusable(ValueError):
    """Text is not such a value; the message says what it must be."""


def as_argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """The reader as argparse's `type`."""

    def argument(given: str) -> T:
        try:
            return read(given)
        except Unusable as error:
            raise argparse.ArgumentTypeError(f"{given!r} is not {error}") from None

    return argument


def as_text(value: object) -> str:
    """The text that is read as `value`."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def text(given: str) -> str | None:
    return given


def absolute_path(given: str) -> str | None:
    return os.path.abspath(given)


def is_set(given: str) -> bool:
    """True whatever the text."""
    return True


def flag(given: str) -> bool:
    if given.lower() in _TRUE:
        return True
    if given.lower() in _FALSE:
        return False
    raise Unusable("1 or 0")


def one_of(*choices: str) -> Callable[[str], str]:
    def read(given: str) -> str:
        if given not in choices:
            raise Unusable(f"one of {', '.join(choices)}")
        return given

    return read


def whole_number(smallest: int, largest: int | None = None) -> Callable[[str], int]:
    def read(given: str) -> int:
        number = int(given) if _is_number(given) else -1
        if number < smallest or (largest is not None and number > largest):
            raise Unusable(f"a whole number from {smallest}" + (f" to {largest}" if largest is not None else ""))
        return number

    return read


def decimal_or_none(given: str) -> int | None:
    """A number, or None for other text."""
    return int(given) if _is_number(given) else None


def indices(given: str) -> tuple[int, ...]:
    """Different whole numbers with commas between."""
    parts = [part.strip() for part in given.split(",")]
    is_sound = all(_is_number(part) and len(part) <= 5 for part in parts)
    if not is_sound or len(set(map(int, parts))) < len(parts):
        raise Unusable("different whole numbers with commas between")
    return tuple(map(int, parts))


def seconds(*, zero_allowed: bool = False) -> Callable[[str], float]:
    def read(given: str) -> float:
        try:
            number = float(given)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf") or (number == 0 and not zero_allowed):
            raise Unusable("0 or a positive number of seconds" if zero_allowed else "a positive number of seconds")
        return number

    return read


def _is_number(given: str) -> bool:
    return given.isascii() and given.isdigit() and len(given) <= 10
