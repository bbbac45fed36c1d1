"""Checks that run a file and hold each of its tests against what is expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpu_check.expected import Expected, row_of
from gpu_check.machine import Machine
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import SampleRun, run_python


@dataclass(frozen=True)
class Said:
    """Something that a process has to print, or must not."""

    what: str  # what that shows, for the table
    pattern: str  # a regular expression
    is_there: bool  # it has to be found; else it must not be
    #: What the table says where it is found, and where it is not.
    yes: str
    no: str

    def row(self, run: SampleRun) -> Row:
        is_found = re.search(self.pattern, run.output) is not None
        words = {True: self.yes, False: self.no}
        verdict = Verdict.OK if is_found is self.is_there else Verdict.FAILED
        return Row(self.what, words[self.is_there], words[is_found], verdict, run.seconds)


@dataclass(frozen=True)
class SampleCheck:
    """One command and all that it has to show."""

    name: str  # by which `--only` finds it
    arguments: tuple[str, ...]  # what follows `python`
    expected: tuple[Expected, ...]  # what its tests have to come to
    said: tuple[Said, ...] = ()  # what it has to print
    variables: Mapping[str, str] = field(default_factory=dict)  # what its environment has besides

    def rows(self, _: Machine) -> list[Row]:
        """Run the command."""
        run = run_python(self.arguments, self.variables)
        rows = [row_of(expected, run.entries.get(expected.test), run.output) for expected in self.expected]
        return [*rows, *(said.row(run) for said in self.said)]
