"""The mark `ranks`: `@pytest.mark.ranks(4)`, `@pytest.mark.ranks([1, 2, 4], backend="gloo", timeout=30)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAME = "ranks"
DESCRIPTION = (
    "ranks(count, *, backend=None, timeout=None, devices=0, threads=False, reuse=None): run the test on `count` ranks, "
    "or once for each count of a list. backend: of the process group. timeout: seconds. devices: accelerators that it "
    "needs. threads: ranks are threads. reuse: in ranks that have run others of its module."
)


class MarkError(ValueError):
    """The mark cannot be used as it is written; the message is one sentence."""


@dataclass(frozen=True)
class RanksMark:
    """The mark of a test."""

    counts: tuple[int, ...]  # the numbers of ranks that it runs on, one after the other
    backend: str | None = None  # of its process group; None for its device's own
    timeout: float | None = None  # seconds that each run may take; None for the run's own limit
    devices: int = 0  # how many accelerators it needs
    threads: bool = False  # whether its ranks are threads
    reuse: bool | None = None  # whether its ranks may be those of the test before; None leaves it to `--reuse-ranks`

    def check_for_unittest(self) -> None:
        """Check that a method of a unittest class can have it: pytest parametrizes none, and sets none up in threads.

        Raises:
            MarkError: it cannot.
        """
        if len(self.counts) > 1:
            raise MarkError(f"ranks({list(self.counts)}): a method of a unittest class takes one number of ranks")
        if self.threads:
            raise MarkError("ranks(..., threads=True): a method of a unittest class takes no threads as ranks")


def read_mark(arguments: Sequence[Any], options: Mapping[str, Any]) -> RanksMark:
    """Read a mark, given what it was called with.

    Raises:
        MarkError: a value cannot be used.
    """
    options = dict(options)
    if "count" in options:
        arguments = (*arguments, options.pop("count"))
    if len(arguments) != 1:
        raise MarkError(f"ranks(...) takes one number of ranks, or one list of them, not {len(arguments)} arguments")
    unknown = sorted(options.keys() - {"backend", "timeout", "devices", "threads", "reuse"})
    if unknown:
        raise MarkError(f"ranks(...) has no option {unknown[0]!r}; it has backend, timeout, devices, threads and reuse")
    given = arguments[0]
    counts = tuple(given) if isinstance(given, list | tuple | range) else (given,)
    if not counts or not all(map(_is_positive, counts)):
        raise MarkError(f"ranks({given!r}): the number of ranks must be a positive int, or a list of them")
    if len(set(counts)) < len(counts):
        raise MarkError(f"ranks({given!r}): each number of ranks must be there once")
    mark = RanksMark(counts, **_checked(options))
    if mark.threads and mark.reuse:
        raise MarkError("ranks(..., threads=True, reuse=True): ranks that are threads are not reused")
    return mark


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a mark; return those that are set."""
    kinds: dict[str, tuple[Callable[[Any], bool], str]] = {
        "backend": (lambda value: isinstance(value, str) and bool(value), "the name of a process-group backend"),
        "timeout": (
            lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf,
            "a positive number of seconds",
        ),
        "devices": (lambda value: value == 0 or _is_positive(value), "a number of accelerators"),
        "threads": (lambda value: isinstance(value, bool), "True or False"),
        "reuse": (lambda value: isinstance(value, bool), "True or False"),
    }
    for name, value in options.items():
        fits, what = kinds[name]
        if value is not None and not fits(value):
            raise MarkError(f"ranks(..., {name}={value!r}): {name} must be {what}")
    return {name: value for name, value in options.items() if value is not None}
