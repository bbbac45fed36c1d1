"""`CheckpointConformance`: the test case that a storage author derives from.

test process                                   ranks, as many as the check's largest world
  test_round_trip_of_fsdp2 --- start ---------->  each trial in turn, on a stage
  rows <--- rows.jsonl in the scratch folder ---  rank 0 writes a line after each trial
  fails where a row is not as it should be
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from torch_testing_shim._cases.dtensor import DTensorTestBase
from torch_testing_shim._cases.world import group_timeout
from torch_testing_shim._engine.devices import bind_rank, process_group_backend
from torch_testing_shim.conformance._checks import Topic
from torch_testing_shim.conformance._drawn import DRAWN
from torch_testing_shim.conformance._fault_steps import DEATHS, FAILURES
from torch_testing_shim.conformance._keys import KEYS
from torch_testing_shim.conformance._model import Branches
from torch_testing_shim.conformance._outcomes import Row
from torch_testing_shim.conformance._planners import PLANNERS
from torch_testing_shim.conformance._round_trips import round_trip_check
from torch_testing_shim.conformance._saves import ASYNC_SAVES, ASYNC_VIEWS, SAVES
from torch_testing_shim.conformance._selection import DEFAULT, Selection
from torch_testing_shim.conformance._stage import Place, Stage
from torch_testing_shim.conformance._storage import Storage
from torch_testing_shim.conformance._strategies import STRATEGIES, Strategy
from torch_testing_shim.conformance._values import VALUES
from torch_testing_shim.conformance._verdict import lost_rows, verdict_text

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The checks of a storage, in the order of the report.
CHECKS: tuple[Topic, ...] = (
    *(round_trip_check(strategy) for strategy in STRATEGIES),
    VALUES,
    KEYS,
    PLANNERS,
    SAVES,
    ASYNC_SAVES,
    ASYNC_VIEWS,
    DRAWN,
    *FAILURES,
    *DEATHS,
)

_ROWS = "rows.jsonl"


class CheckpointConformance(DTensorTestBase):
    """The suite for a storage: derive from it and say what writes and what reads. A derived class gets one test for
    each check; a test that is set to None is left out. Ranks are processes, on the CPU or on accelerators.

    Attributes:
        selection: the round trips that are made.
        known: full name of a row ("round trip of TP: AdamW fused, 4 -> 2") -> how its outcome begins where this
            storage, or this torch, is known not to do it. Such a row has to end so.
        blames_torch: repeat what fails with torch's `FileSystemWriter`. What fails there too is reported as torch's
            own, and does not fail the test.
        rows: in the test process, the rows of the tests that have run, for a report.
    """

    selection: ClassVar[Selection] = DEFAULT
    known: ClassVar[Mapping[str, str]] = {}
    blames_torch: ClassVar[bool] = True
    rows: ClassVar[list[Row]] = []

    def writer(self, path: str) -> StorageWriter:
        """Return a new writer for a checkpoint at `path`, where nothing is yet unless a check overwrites. Called in
        every rank for each save."""
        raise NotImplementedError(f"{type(self).__name__} has to say what writes: def writer(self, path)")

    def reader(self, path: str) -> StorageReader:
        """Return a new reader for the checkpoint at `path`. Called in every rank for each load."""
        raise NotImplementedError(f"{type(self).__name__} has to say what reads: def reader(self, path)")

    def planner(self) -> tuple[SavePlanner | None, LoadPlanner | None]:
        """Return new planners of a save and of a load; torch's own where None."""
        return None, None

    def build(self, strategy: Strategy, model: Branches, ranks: int) -> nn.Module:
        """Spread a model over the ranks of the default process group, as a strategy does it."""
        return strategy.build(model, ranks, self.device_type)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.rows = []
        for check in CHECKS:
            if not hasattr(cls, check.test_name):
                setattr(cls, check.test_name, _test_of(check, cls))

    @property
    def world_size(self) -> int:
        """The ranks of the check's largest world."""
        return self._own_check().ranks(self._storage())

    @property
    def backend(self) -> str:
        """The device's process-group backend, with gloo for tensors in memory, which an asynchronous save needs."""
        backend = process_group_backend(self.device_type)
        return backend if self.device_type == "cpu" else f"cpu:gloo,{self.device_type}:{backend}"

    @classmethod
    def unended(cls) -> list[str]:
        """Return the full names of the rows that the tests of this class have not reached, in the test process."""
        ended = {row.full_name for row in cls.rows}
        found = []
        for check in CHECKS:
            if getattr(cls, check.test_name, None) is not None:
                case = cls(check.test_name)
                names = [f"{check.name}: {name}" for name in check.row_names(case._storage())]
                found += [name for name in names if name not in ended]
        return found

    def _own_check(self) -> Topic:
        check: Topic = getattr(type(self), self._testMethodName).check
        return check

    def _storage(self) -> Storage:
        return Storage(self.writer, self.reader, self.planner, self.build, self.selection)

    def _scratch(self) -> Path:
        return Path(self.file_name).parent

    def _join_processes(self, fn: Callable[..., Any]) -> None:
        check = self._own_check()
        if check.kills_ranks:
            self.skip_return_code_checks.append(fn)
        try:
            super()._join_processes(fn)
        finally:
            written = self._scratch() / _ROWS
            found = [Row.from_json(line) for line in written.read_text().splitlines()] if written.exists() else []
            type(self).rows.extend(found)
        lost = lost_rows(found, check.name, check.row_names(self._storage()))
        type(self).rows.extend(lost)
        if (text := verdict_text([*found, *lost], self.known)) is not None:
            self.fail(text)

    def _run_check(self, check: Topic) -> None:
        """Run a check in this rank."""
        bind_rank(self.rank, self.device_type)
        folder = self._scratch() / "conformance"
        folder.mkdir(exist_ok=True)
        place = Place(self.rank, self.world_size, folder, self.device_type, self.backend, group_timeout(self.id()))
        stage = Stage(place)
        for row in check.carry_out(self._storage(), stage, blames_torch=self.blames_torch):
            with (self._scratch() / _ROWS).open("a") as stream:
                stream.write(row.to_json() + "\n")  # at once, so that lines of several ranks stay whole
        stage.leave_group()


def _test_of(check: Topic, cls: type) -> Callable[[CheckpointConformance], None]:
    """Make the test method of a check."""

    def test(self: CheckpointConformance) -> None:
        self._run_check(check)

    test.__name__, test.__module__ = check.test_name, cls.__module__
    test.__qualname__ = f"{cls.__qualname__}.{check.test_name}"
    test.__doc__ = None
    test.check = check  # type: ignore[attr-defined]
    return test
