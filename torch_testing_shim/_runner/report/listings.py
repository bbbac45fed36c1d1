"""Lists that the user asks for at the end of a run: the slowest tests, and why tests were skipped. Pure."""

from __future__ import annotations

from ..result import RunSummary

__all__ = ["skip_reasons", "slowest_tests"]

#: How many tests with one reason are named; decorators of a whole file can skip hundreds.
NAMED_TESTS = 3


def slowest_tests(summary: RunSummary, count: int) -> list[str]:
    """A headline and the `count` slowest tests, slowest first; all of them where `count` is 0."""
    timed = [(entry.seconds, f"{file.file}::{entry.test}") for file in summary.files for entry in file.entries]
    timed.sort(key=lambda test: (-test[0], test[1]))
    shown = timed[:count] if count else timed
    headline = f"slowest {len(shown)} of {len(timed)} tests:"
    return [headline, *(f"{seconds:9.3f}s  {where}" for seconds, where in shown)]


def skip_reasons(summary: RunSummary) -> list[str]:
    """One line for each reason, with the number of tests that it skipped and the first of them; commonest first."""
    tests: dict[str, list[str]] = {}
    for file in summary.files:
        for entry in file.entries:
            if entry.status.is_skip:
                tests.setdefault(entry.reason or "no reason", []).append(f"{file.file}::{entry.test}")
    commonest = sorted(tests.items(), key=lambda reason: -len(reason[1]))
    return [_line(reason, names) for reason, names in commonest] or ["no test was skipped"]


def _line(reason: str, names: list[str]) -> str:
    more = [f"and {len(names) - NAMED_TESTS} more"] if len(names) > NAMED_TESTS else []
    return f"SKIPPED  {len(names)}  {reason}  ({', '.join([*names[:NAMED_TESTS], *more])})"
