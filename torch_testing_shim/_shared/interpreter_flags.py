"""The interpreter's own options, as they were typed: `-W error`, `-bb`, `-O`. Whoever starts a test file anew, and says
how to, hands them on, since they decide how tests end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

__all__ = ["interpreter_flags"]

#: Options that take a value; what follows `-c` and `-m` is the program.
WITH_VALUE, PROGRAM = frozenset("WX"), frozenset("cm")
#: Options that serve the one process alone: a prompt at its end, the first line of its program, and what only prints.
NOT_HANDED_ON = frozenset("ixhV?")


def interpreter_flags(command: Sequence[str] | None = None) -> tuple[str, ...]:
    """The options between `python` and what it runs, one by one: "-bb" as "-b", "-b".

    Args:
        command: a whole command line; by default the one that this process was started with.
    """
    return tuple(_flags(iter((sys.orig_argv if command is None else command)[1:])))


def _flags(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return
        if word == "--check-hash-based-pycs":
            yield from (word, next(words, ""))
        elif not word.startswith("--"):
            for place, letter in enumerate(word[1:], start=2):
                if letter in PROGRAM:
                    return
                if letter in WITH_VALUE:
                    yield from (f"-{letter}", word[place:] or next(words, ""))
                    break
                if letter not in NOT_HANDED_ON:
                    yield f"-{letter}"
