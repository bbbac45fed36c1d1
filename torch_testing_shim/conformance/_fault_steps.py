"""Saves that are struck at each of their steps: the folder loads whole afterwards, as the old or as the new checkpoint,
or it refuses to load. Everything else is WRONG, and its text begins with MIXED.

A step where an error is raised is a trial on the stage, since nobody dies of it. Where ranks are killed, each step has
a pair of ranks of its own, and all pairs save at the same time:

    ranks of the launch    0 1 | 2 3 | 4 5 | ...
    killed                 x   | x   |   x | ...    at its 1st collective, at its 2nd collective, at its 1st write, ...
    looks at what is left    . |   . | .   | ...
"""

from __future__ import annotations

import fcntl
import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.distributed as dist
from torch._C._distributed_c10d import FileStore
from torch.distributed.checkpoint.storage import StorageWriter

from torch_testing_shim._cases.world import leave_group_at_end
from torch_testing_shim.conformance._checks import Check, Topic, Trial
from torch_testing_shim.conformance._comparison import same_bits
from torch_testing_shim.conformance._outcomes import (
    Kind,
    MismatchError,
    NotHereError,
    Outcome,
    Row,
    outcome_of,
    root_text,
)
from torch_testing_shim.conformance._stage import Place, Stage
from torch_testing_shim.conformance._states import State, rank_mesh, small_state, whole_small_state
from torch_testing_shim.conformance._storage import Storage
from torch_testing_shim.faults import Fault, FaultNeverFiredError, Point, call, collective, fail, inject, kill, write

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_SEEDS = {"old": 70, "new": 80}
_NO_SUCH_STEP = "the save has no such step"
#: Whether there is an old checkpoint -> where the save goes.
_PLACES = {False: "in a new folder", True: "over an old checkpoint"}
#: Read by the survivor of a pair where the other was not killed.
_WAS_NOT_KILLED = "was not killed"


def _steps() -> list[tuple[int, Point]]:
    """Return the steps of a save of the small state by two ranks, as (rank, point). Rank 0 leads and writes 2 items,
    rank 1 writes 4. Torch's writer renames its metadata alone."""
    collectives: list[tuple[int, Point]] = [(rank, collective(nth)) for nth in range(1, 5) for rank in (0, 1)]
    writes = [(rank, write(nth)) for rank, items in ((0, 2), (1, 4)) for nth in range(1, items + 1)]
    return [
        *((rank, call(StorageWriter, "set_up_storage_writer")) for rank in (0, 1)),
        *((rank, call(StorageWriter, "prepare_local_plan")) for rank in (0, 1)),
        (0, call(StorageWriter, "prepare_global_plan")),
        *collectives,
        *((rank, call(StorageWriter, "write_data")) for rank in (0, 1)),
        *writes,
        *((rank, call(StorageWriter, "write_data", after=True)) for rank in (0, 1)),
        (0, call(StorageWriter, "finish")),
        *((0, call(Path, "rename", nth)) for nth in range(1, 4)),
        (0, call(StorageWriter, "finish", after=True)),
    ]


def _faults(strike: Callable[..., Fault]) -> list[Fault]:
    return [strike(rank=rank, at=point) for rank, point in _steps()]


def age_of(state: State, has_old: bool) -> str:
    """Return which checkpoint a loaded small state is, "old" or "new".

    Args:
        state: whole tensors.
        has_old: whether there was an old checkpoint.

    Raises:
        MismatchError: it is a mixture, or holds what was never saved.
    """
    ages = {name: _age(name, value, has_old) for name, value in sorted(state.items())}
    if len(found := set(ages.values())) == 1 and found <= {"old", "new"}:
        return found.pop()
    raise MismatchError("MIXED: " + ", ".join(f"{name} is {age}" for name, age in ages.items()))


def _age(name: str, value: Any, has_old: bool) -> str:
    for age in ("new", "old") if has_old else ("new",):
        wanted = whole_small_state(_SEEDS[age])[name]
        if same_bits(value, wanted):
            return age
    return "neither"


def _what_is_left(storage: Storage, path: str, has_old: bool) -> str:
    """Load what the folder holds into whole tensors. Return "old", "new", or "refuses" and the type of the error.

    Raises:
        MismatchError: it loads, and is neither.
    """
    state = whole_small_state(_SEEDS["new"], is_blank=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's, that one process loads: as it is meant here
            storage.load(state, path)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        return f"{Kind.REFUSES.value}: {root_text(error).partition(':')[0]}"
    return age_of(state, has_old)


def _save_old(storage: Storage, path: str) -> None:
    storage.save(small_state(rank_mesh("cpu", 2), _SEEDS["old"]), path)


def _save_under(fault: Fault, storage: Storage, path: str) -> None:
    """Save the new state on two ranks and strike one of them. A save that fails is as it should be.

    Raises:
        NotHereError: the fault has not fired.
    """
    state = small_state(rank_mesh("cpu", 2), _SEEDS["new"])
    try:
        with inject(fault):
            storage.save(state, path)
    except FaultNeverFiredError as error:
        raise NotHereError(_NO_SUCH_STEP) from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return


def _failure(storage: Storage, fault: Fault, has_old: bool, stage: Stage) -> str:
    """Save on a stage; return what is left."""
    path = stage.new_path()

    def struck_save() -> None:
        try:
            _save_under(fault, storage, path)
        finally:
            stage.leave_group()  # the connections close, so that the other rank does not wait for this one

    if has_old:
        stage.phase(2, "first save", lambda: _save_old(storage, path))
    stage.phase(2, "save", struck_save)
    return stage.phase(1, "load", lambda: _what_is_left(storage, path, has_old)) or ""


def _failures(has_old: bool) -> Check:
    def trials(storage: Storage) -> list[Trial]:
        return [Trial(str(fault), 2, functools.partial(_failure, storage, fault, has_old)) for fault in _faults(fail)]

    return Check(f"a save {_PLACES[has_old]} that fails", trials, blames_torch=False)


@dataclass(frozen=True)
class Deaths(Topic):
    """A test in which ranks are killed.

    Attributes:
        has_old: whether they save over an old checkpoint.
    """

    has_old: bool
    kills_ranks: ClassVar[bool] = True

    def row_names(self, storage: Storage) -> list[str]:
        return [str(fault) for fault in _faults(kill)]

    def ranks(self, storage: Storage) -> int:
        return 2 * len(_steps())

    def carry_out(self, storage: Storage, stage: Stage, *, blames_torch: bool) -> Iterator[Row]:
        """Save in a pair of ranks; the one that is not killed yields the row."""
        pair, member = divmod(stage.rank, 2)
        fault = _faults(kill)[pair]
        outcome = _Pair(stage.place, pair, member, self.has_old).outcome(storage, fault)
        if outcome is not None:
            yield Row(self.name, str(fault), outcome)


@dataclass(frozen=True)
class _Pair:
    """One rank of a pair.

    Attributes:
        place: where it stands in the launch.
        number: the pair's number.
        member: its own number in the pair, 0 or 1.
        has_old: whether a checkpoint is in the folder before.
    """

    place: Place
    number: int
    member: int
    has_old: bool

    def outcome(self, storage: Storage, fault: Fault) -> Outcome | None:
        """Save, be killed or survive. Return what is left, as the survivor finds it; None in the other rank."""
        folder = self.place.folder / f"pair{self.number}"
        folder.mkdir(exist_ok=True)
        path = str(folder / "checkpoint")
        with (folder / "end").open("a+") as end:
            if self.member == fault.rank:
                fcntl.flock(end, fcntl.LOCK_EX)  # the kernel gives it back when this rank has died
            failure = self._save(storage, fault, path, folder)
            if self.member == fault.rank:
                end.write(_WAS_NOT_KILLED)
                return None
            fcntl.flock(end, fcntl.LOCK_EX)
            end.seek(0)
            if end.read() == _WAS_NOT_KILLED:
                return failure or Outcome(Kind.NOT_HERE, _NO_SUCH_STEP)
        try:
            return Outcome(Kind.OK, _what_is_left(storage, path, self.has_old))
        except MismatchError as error:
            return outcome_of("load", error)

    def _save(self, storage: Storage, fault: Fault, path: str, folder: Path) -> Outcome | None:
        """Save in the pair's group. Return why the save of the old checkpoint has failed."""
        group = FileStore(str(folder / "group"), 2)
        dist.init_process_group("gloo", store=group, rank=self.member, world_size=2, timeout=self.place.timeout)
        try:
            if self.has_old:
                _save_old(storage, path)
            _save_under(fault, storage, path)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            dist.destroy_process_group()
            gc.collect()  # the connections close, so that the other rank does not wait for this one
            return outcome_of("save", error)
        leave_group_at_end()
        return None


FAILURES = tuple(_failures(has_old) for has_old in _PLACES)
DEATHS = tuple(Deaths(f"a save {place}, whose rank dies", has_old) for has_old, place in _PLACES.items())
