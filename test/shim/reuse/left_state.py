"""Tests that leave state in a rank, and tests that would notice: three for each thing that a test can leave.

    test_007_priority_1_leaves_it      passes, and leaves it in one rank
    test_007_priority_2_finds_none     passes only where the first left nothing, and leaves it once more
    test_007_priority_3_relies_on_it   passes only where the second left something: it has to fail

With fresh ranks and with reused ones the outcomes have to be the same, which `outcome` gives by the test's name. Where
LEFT_STATE_QUICK is set, most of the tests that cost new ranks are left out: those that fail, and of states for which
ranks are replaced.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from torch_testing_shim.common_distributed import MultiProcessTestCase

#: Names the folder in which each test says what it saw.
RECORDS = "LEFT_STATE_RECORDS"
#: Names the file in that folder that has, for each test which leaves something, the expression of the note on it.
NOTES = "notes.json"
QUICK = "LEFT_STATE_QUICK"
#: One in so many is not left out.
_KEPT = 12


@dataclass(frozen=True)
class LeftState:
    """Something that a test leaves in its rank."""

    name: str  # in a few words
    leave: Callable[[Any], object]  # leaves it, in one rank; is given the test's instance
    #: Returns the trace that a later test sees, as something that `repr` tells apart. It changes nothing.
    see: Callable[[Any], object]
    replaced: str = ""  # regular expression of the note where ranks have to be replaced; empty where it is put back
    everywhere: bool = False  # all ranks leave it, since they do it together
    #: No note on the test that leaves it may tell: what later tests come to in fresh ranks counts.
    is_late: bool = False

    def test_names(self, index: int) -> tuple[str, str, str]:
        stem = f"test_{index:03}_{re.sub(r'[^a-z0-9]+', '_', self.name.lower())}"
        return f"{stem}_1_leaves_it", f"{stem}_2_finds_none", f"{stem}_3_relies_on_it"


class LeftStateTestCase(MultiProcessTestCase):
    """Two ranks, without a process group."""

    world_size = 2
    states: Sequence[LeftState] = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if RECORDS not in os.environ:  # somebody runs the sample by hand
            folder = tempfile.TemporaryDirectory(prefix="left-state-")
            os.environ[RECORDS] = folder.name
            cls.addClassCleanup(folder.cleanup)
            cls.addClassCleanup(os.environ.pop, RECORDS)
        names = [
            (name, state.replaced)
            for index, state in enumerate(cls.states)
            for name in state.test_names(index)[:2]
            if not state.is_late
        ]
        Path(os.environ[RECORDS], NOTES).write_text(
            json.dumps({f"{cls.__name__}.{name}": note for name, note in names})
        )

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def record(self, test: str, seen: object) -> None:
        """Say what this rank saw in a test, before it leaves anything."""
        self._path(test).write_text(json.dumps([os.getpid(), repr(seen)]))

    def recorded(self, test: str) -> str:
        """The value that this rank saw in an earlier test."""
        return str(json.loads(self._path(test).read_text())[1])

    def meet(self) -> None:
        """Ranks that share a process group come here: none leaves anything before all have looked."""
        if dist.is_initialized():
            dist.barrier()

    def _path(self, test: str) -> Path:
        return Path(os.environ[RECORDS], f"{type(self).__name__}.{test}.{self.rank}")


def with_tests(cls: type[LeftStateTestCase]) -> type[LeftStateTestCase]:
    """Add the tests of the class's states. Even ones are left in rank 0, odd ones in rank 1."""
    for index, state in enumerate(cls.states):
        is_kept = QUICK not in os.environ or index % _KEPT == _KEPT - 1
        if state.replaced and not is_kept:
            continue
        for name, body in zip(state.test_names(index)[: 3 if is_kept else 2], _bodies(state, index), strict=False):
            body.__name__, body.__qualname__ = name, f"{cls.__qualname__}.{name}"
            setattr(cls, name, body)
    return cls


def _bodies(state: LeftState, index: int) -> tuple[Callable[[LeftStateTestCase], None], ...]:
    first, second, third = state.test_names(index)

    def leaves_it(self: LeftStateTestCase) -> None:
        self.record(first, state.see(self))
        self.meet()
        if state.everywhere or self.rank == index % 2:
            state.leave(self)

    def finds_none(self: LeftStateTestCase) -> None:
        seen = state.see(self)
        self.record(second, seen)
        self.assertEqual(self.recorded(first), repr(seen))
        self.meet()
        if state.everywhere or self.rank == index % 2:
            state.leave(self)

    def relies_on_it(self: LeftStateTestCase) -> None:
        seen = state.see(self)
        self.record(third, seen)
        if state.everywhere or self.rank == index % 2:
            self.assertNotEqual(self.recorded(first), repr(seen))

    return leaves_it, finds_none, relies_on_it


#: The ends of names of tests that do not pass -> what they come to, by the values of `TestStatus`.
_OUTCOMES = {"_3_relies_on_it": "failed", "_fails": "failed", "_errs": "error", "_skips": "skipped"}


def outcome(test: str) -> str:
    """The outcome of a test of these, by its name."""
    return next((status for end, status in _OUTCOMES.items() if test.endswith(end)), "passed")
