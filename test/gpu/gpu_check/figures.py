"""The cost of a test: a tiny one of one rank, here, in PyTorch's own harness, and in a bare loop that forks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpu_check.machine import Machine
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import SAMPLES, run_python

#: How many times as long as in a bare loop a test may take here. A spawned rank, which imports torch, takes 4 times.
_OVER_BARE = 1.5
#: And how much longer besides, in seconds: what the harness does for a test, on a device whose first use costs nothing.
_SLACK_SECONDS = 0.1
#: The line of a report that says what was raised.
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b")
#: The last words of unittest, and of the bare loop.
_RAN = re.compile(r"^Ran (?P<tests>\d+) tests? in (?P<seconds>[\d.]+)s$", re.MULTILINE)


@dataclass(frozen=True)
class Contender:
    """Something that runs the tests."""

    what: str  # what it is, for the table
    script: str  # the sample that runs them
    harness: str  # the harness that the sample is to import, or ""
    tests: int  # how many it runs


@dataclass(frozen=True)
class Figure:
    """The cost of a test on a contender."""

    seconds: float | None  # that; None where it did not run
    problem: str = ""  # why not; empty where it ran


OURS = Contender("a tiny test: here", "tiny.py", "torch_testing_shim", 5)
BARE = Contender("a tiny test: a bare fork loop", "bare_loop.py", "", 5)
UPSTREAM = Contender("a tiny test: PyTorch's harness", "tiny.py", "torch.testing._internal", 3)


class FiguresCheck:
    """Runs each contender; what it takes to import torch and to start the first process does not count."""

    name = "figures"

    def rows(self, _: Machine) -> list[Row]:
        """One row for each contender."""
        return rows_of(*map(_measure, (OURS, BARE, UPSTREAM)))


def rows_of(ours: Figure, bare: Figure, upstream: Figure) -> list[Row]:
    """The rows of what was measured. Pure."""
    limit = None if bare.seconds is None else _OVER_BARE * bare.seconds + _SLACK_SECONDS
    is_right = ours.seconds is not None and (limit is None or ours.seconds <= limit)
    expected = "a figure" if limit is None else f"at most {limit:.2f} s, by the bare loop's"
    verdict = Verdict.OK if is_right else Verdict.FAILED
    ours_row = Row(OURS.what, expected, _told(ours), verdict, ours.seconds, ours.problem)
    others = [
        Row(who.what, "a figure", _told(it), Verdict.NOT_TRIED if it.seconds is None else Verdict.OK, it.seconds)
        for who, it in ((BARE, bare), (UPSTREAM, upstream))
    ]
    return [ours_row, *others]


def _told(figure: Figure) -> str:
    if figure.seconds is not None:
        return f"{figure.seconds:.2f} s a test"
    lines = figure.problem.splitlines()
    return f"it does not run: {next(filter(_ERROR_LINE.match, reversed(lines)), lines[-1])}"


def _measure(contender: Contender) -> Figure:
    variables = {"GPU_CHECK_TESTS": str(contender.tests), "GPU_CHECK_HARNESS": contender.harness}
    run = run_python([str(SAMPLES / contender.script)], variables)
    ran = _RAN.search(run.output)
    if run.exit_code != 0 or ran is None or int(ran["tests"]) != contender.tests:
        return Figure(None, run.output[-3000:].rstrip() or f"exit status {run.exit_code}")
    return Figure(float(ran["seconds"]) / contender.tests)
