"""The order for one rank, and its test's scratch folder: what lies where in it, how it is made and removed.

The controller makes both; ranks carry out the order (see `rank_main`). A class may have prepared a process object of
multiprocessing's, or one like it, whose `run` the rank calls in place of the class's `_run`. It travels as
multiprocessing's own do: pickled, with the descriptors that its arguments hold (pipes, queues, events). Imports no
torch.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import context, reduction
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class LaunchError(RuntimeError):
    """A test's ranks could not be started; the message is one sentence."""


@dataclass(frozen=True)
class ScratchFolder:
    """The private folder of one test, and the paths in it."""

    path: Path

    @property
    def rendezvous(self) -> Path:
        """The file that the ranks' process group meets in: no port, so no port collisions."""
        return self.path / "rendezvous"

    @property
    def temporary(self) -> Path:
        """TMPDIR of every rank."""
        return self.path / "tmp"

    @property
    def shared(self) -> Path:
        """The temporary folders that all ranks of a test share."""
        return self.path / "shared"

    @property
    def preparation(self) -> Path:
        """The likeness that a new interpreter takes on of the test process (see `new_interpreter`)."""
        return self.path / "preparation"

    @property
    def state(self) -> Path:
        """The state that every rank takes on of the test process (see `process_state`)."""
        return self.path / "state"

    @property
    def session(self) -> Path:
        """How a new interpreter makes pytest's session with the test (see `_pytest_ranks.session_copy`)."""
        return self.path / "session"

    @property
    def common_end(self) -> Path:
        """The FIFO that ranks hold until they are done."""
        return self.path / "common_end"

    def call(self, rank: int) -> Path:
        """The call that a rank makes in place of its class's `_run`, as `pack_call` packs it."""
        return self.path / f"rank{rank}.call"

    def output(self, rank: int) -> Path:
        """A rank's output, stdout and stderr together."""
        return self.path / f"rank{rank}.output"

    def warnings(self, rank: int) -> Path:
        """A rank's Python warnings, one JSON string a line: apart from its output, which they would bury."""
        return self.path / f"rank{rank}.warnings"

    def stacks(self, rank: int) -> Path:
        """The file to which faulthandler writes a rank's stacks when the rank is asked for them."""
        return self.path / f"rank{rank}.stacks"

    def collectives(self, rank: int) -> Path:
        """A rank's log of the collectives that it enters."""
        return self.path / f"rank{rank}.collectives"

    def word(self, rank: int) -> Path:
        """How far a rank of a joined test has come in it, for its neighbours (see `joined.remains`)."""
        return self.path / f"rank{rank}.word"

    def question(self, rank: int) -> Path:
        """The FIFO that the controller opens to make a rank report on itself."""
        return self.path / f"rank{rank}.question"

    def report(self, rank: int) -> Path:
        """The rank's report on itself."""
        return self.path / f"rank{rank}.report"


@dataclass(frozen=True)
class RankJob:
    """The order for one rank."""

    module: str  # name of the module that defines the test class; "__main__" for a file that is run directly
    module_file: str | None  # for a process that cannot import it by name; None if it has none
    class_name: str  # qualified
    method: str
    rank: int
    world_size: int
    scratch: str  # path of the test's scratch folder
    rendezvous_file: str  # path of the file that the process group is to meet in
    threads: int | None = None  # intra-op threads; None to leave them as they are
    run_arguments: Mapping[str, object] = field(default_factory=dict)  # keyword arguments for the class's `_run`
    stops_at_subtest: bool = False  # the test ends at the first subtest that fails
    #: The controller's descriptors that the rank gets besides its channel, under other numbers. The first is the rank's
    #: end of the pipe that upstream's `_run` is given.
    descriptors: Sequence[int] = ()
    #: Path of a folder that ranks share which go on to other jobs; empty where they end. Orders for these come through
    #: the last of the descriptors.
    lasting_folder: str = ""
    controller_pid: int = field(default_factory=os.getpid)  # the process that runs the test

    @property
    def folder(self) -> ScratchFolder:
        return ScratchFolder(Path(self.scratch))

    @property
    def process_needs(self) -> tuple[object, ...]:
        """The needs of the job that a process meets for good: jobs with the same needs can share one."""
        return self.module, self.module_file, self.rank, self.world_size, self.threads, self.controller_pid

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> RankJob:
        fields = json.loads(text)
        return cls(**fields | {"descriptors": tuple(fields["descriptors"])})


def make_scratch_folder() -> ScratchFolder:
    """Make the private folder of one test. The next run removes folders of a killed one (see `owned_folders`).

    Raises:
        LaunchError: the temporary folder cannot be written.
    """
    place = read_settings().temporary_folder
    where = place or "the system's temporary folder"
    try:
        folder = ScratchFolder(make_folder(place))
    except OSError as error:
        raise LaunchError(f"cannot make a scratch folder in {where}: {error.strerror}") from None
    try:
        folder.temporary.mkdir(mode=0o700)
    except OSError as error:
        remove_scratch_folder(folder)
        raise LaunchError(f"cannot write a scratch folder in {where}: {error.strerror}") from None
    return folder


def check_scratch_folder() -> None:
    """Make a scratch folder for nothing, so that a run that cannot have any ends before its first test."""
    remove_scratch_folder(make_scratch_folder())


def remove_scratch_folder(folder: ScratchFolder) -> None:
    """Remove the folder and all in it, also what a test has made read-only."""
    remove_folder(folder.path)


class _Descriptor:
    """A descriptor on its way; multiprocessing's arguments call `detach` when they have arrived."""

    #: The descriptors that this process has been given, while a call is unpacked.
    arrived: Sequence[int] = ()

    def __init__(self, number: int) -> None:
        self._number = number

    def detach(self) -> int:
        return self.arrived[self._number]


class _Starting:
    """Stands for the start of a process; multiprocessing's arguments ask for it while they are pickled."""

    DupFd = _Descriptor

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1


def pack_call(process: Any) -> tuple[bytes, list[int]]:
    """Pickle an object whose `run` a rank is to call, if it can be pickled. Return the bytes and the descriptors that
    it needs."""
    starting, text = _Starting(), io.BytesIO()
    context.set_spawning_popen(starting)  # type: ignore[arg-type]  # has what is asked of one
    try:
        reduction.ForkingPickler(text, pickle.HIGHEST_PROTOCOL).dump(process)
    finally:
        context.set_spawning_popen(None)
    return text.getvalue(), starting.descriptors


def unpack_call(text: bytes, descriptors: Sequence[int]) -> Any:
    """Unpickles the object, given the descriptors that it needs, as they have arrived here."""
    _Descriptor.arrived = descriptors
    try:
        return pickle.loads(text)
    finally:
        _Descriptor.arrived = ()
