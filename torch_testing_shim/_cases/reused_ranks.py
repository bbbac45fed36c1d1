"""Ranks that run test after test: which tests may have them, and what is noted on these."""

from __future__ import annotations

import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.outcome import RankOutcome, ranks_text
from torch_testing_shim._program.notes import note
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The class attribute by which a class chooses.
_CHOICE = "reuse_ranks"
#: unittest's mark of a test that is expected to fail.
_EXPECTED_FAILURE = "__unittest_expecting_failure__"


def wants_reuse(cls: type) -> bool:
    """Return whether a test class wants ranks that are reused, by its `reuse_ranks` or by the setting.

    Raises:
        LaunchError: its `reuse_ranks` is neither True nor False.
    """
    chosen = getattr(cls, _CHOICE, None)
    if chosen is not None and not isinstance(chosen, bool):
        raise LaunchError(f"{cls.__name__}.{_CHOICE} must be True or False, not {chosen!r}")
    return read_settings().reuse_ranks if chosen is None else chosen


def may_reuse(case: unittest.TestCase, method: str, obstacle: str | None) -> bool:
    """Return whether a test runs in reused ranks. Where it wants them and there is an `obstacle`, a line says so.

    A test that is expected to fail has fresh ranks: in others it could fail for another reason, or pass. Raise as
    `wants_reuse`.
    """
    cls = type(case)
    if not wants_reuse(cls):
        return False
    if obstacle is not None:
        STARTER.say(f"ranks of {cls.__name__} are not reused: {obstacle}")
    is_expected = getattr(cls, _EXPECTED_FAILURE, False) or getattr(getattr(cls, method), _EXPECTED_FAILURE, False)
    return obstacle is None and not is_expected


def say_not_reused(cls: type, reason: str) -> None:
    """Say that a class which asks for reused ranks cannot have them."""
    if getattr(cls, _CHOICE, False):
        STARTER.say(f"{cls.__name__}.{_CHOICE} is ignored: {reason}")


# Notes on tests.


def note_left(test: object, outcomes: Sequence[RankOutcome]) -> None:
    """Note what a test has left in its ranks."""
    found: dict[str, list[int]] = {}
    for outcome in outcomes:
        for sentence in outcome.left or ():
            found.setdefault(sentence, []).append(outcome.rank)
    for sentence, ranks in found.items():
        if JOINED.world is None:
            note(test, f"left in {ranks_text(ranks)}, so the next test gets new ranks: {sentence}")
        else:
            note(test, f"state was left behind in {ranks_text(ranks)}, where the next test runs, too: {sentence}")


def word_for(error: Exception | None) -> str:
    """Return one word for the verdict that a test ends with; None is a pass."""
    if error is None:
        return "passed"
    return "skipped" if isinstance(error, unittest.SkipTest) else "failed"


@contextmanager
def noted_difference(test: unittest.TestCase, first: str, follows: str) -> Iterator[None]:
    """Run the second run of a test, and note where its verdict is another than the `first`, after the test
    `follows`."""
    error: Exception | None = None
    try:
        yield
    except Exception as found:
        error = found
        raise
    finally:
        note_difference(test, word_for(error), first, follows)


def note_difference(test: object, alone: str, first: str, follows: str) -> None:
    """Note where the verdict in fresh ranks, `alone`, is another than the `first`, after the test `follows`."""
    if alone != first:
        note(test, f"{alone} alone, {first} after {follows}: state was left behind")
