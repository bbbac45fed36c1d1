"""Leftovers of a test around the test process: processes, files, descriptors. Linux only."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._engine.launcher import STARTER

#: Names the variable that all processes of one run of faults have, with the same value, in the environment that they
#: started with. It tells them also where they have left their family.
MARK = "FAULT_MARK"
#: Files that Python and torch keep in the folder of temporary files and in the current one.
_CACHES = ("torchinductor_", "__pycache__")


@dataclass(frozen=True)
class Surroundings:
    """The surroundings now."""

    processes: tuple[str, ...]  # those that come from this one, less those that the harness keeps
    files: frozenset[str]  # paths in the folder of temporary files and in the current folder
    #: What the descriptors of this process, and of the one that ranks are forked from, are open on.
    descriptors: tuple[str, ...]

    @classmethod
    def now(cls) -> Surroundings:
        kept = {os.getpid(), *STARTER.kept[0]}
        return cls(
            processes=tuple(f"{pid} ({_command(pid)})" for pid in marked_processes(os.environ[MARK], kept)),
            files=frozenset(path for folder in (tempfile.gettempdir(), os.getcwd()) for path in _files_in(folder)),
            descriptors=tuple(target for pid in kept for target in _descriptors_of(pid)),
        )

    def more_than(self, before: Surroundings) -> list[str]:
        """Things that are here and were not there, in a few words each."""
        left = [f"process {process}" for process in self.processes if process not in before.processes]
        left += [f"file {path}" for path in sorted(self.files - before.files)]
        if (more := len(self.descriptors) - len(before.descriptors)) > 0:
            new = sorted(set(self.descriptors) - set(before.descriptors))
            left.append(f"{more} descriptors ({', '.join(new)})")
        return left


def marked_processes(mark: str, but: Collection[int] = (), variable: str = MARK) -> list[int]:
    """Ids of the processes that started with the mark, and of ended ones that wait to be reaped by one of `but`."""
    wanted = f"{variable}={mark}".encode()
    found = []
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with suppress(OSError):
            is_marked = wanted in Path(f"/proc/{pid}/environ").read_bytes()  # empty once it has ended
            if pid not in but and (is_marked or _is_ended_child(pid, but)):
                found.append(pid)
    return sorted(found)


def kill_marked(mark: str, but: Collection[int] = (), variable: str = MARK) -> None:
    for pid in marked_processes(mark, but, variable):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _is_ended_child(pid: int, parents: Collection[int]) -> bool:
    state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return state == "Z" and int(parent) in parents


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()[:60] or "ended"
    return "ended"


def _files_in(folder: str) -> Iterator[str]:
    return (entry.path for entry in os.scandir(folder) if not entry.name.startswith(_CACHES))


def _descriptors_of(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}")
