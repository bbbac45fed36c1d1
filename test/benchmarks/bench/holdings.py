"""Holdings of processes at one moment: memory, descriptors, threads, children. A process takes its own and its kin's.

Memory is what was written to, as PSS, and what of it is private: RSS would count what the zygote shares with the
controller twice, and the PSS of mapped files falls and rises with every other process on the machine that runs torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holdings:
    """The holdings of one process."""

    pid: int  # its process id
    anonymous: int  # memory of its own, written to or shared with the process that it was forked from, in bytes
    pss: int  # proportional set size of that memory, in bytes
    private_dirty: int  # memory that it alone has and has written to, in bytes
    descriptors: int  # how many are open
    threads: int  # how many run, those of C++ libraries included
    children: int  # how many child processes it has, ended ones that wait to be reaped included


def memory_of(pid: int) -> dict[str, int]:
    """The sizes in /proc/<pid>/smaps_rollup, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(size.split()[0]) * 1024 for name, size in (line.split(":", 1) for line in lines)}


def note_holdings(path: Path, number: int, processes: Mapping[str, int]) -> None:
    """Add a line to the notes at `path`.

    Args:
        path: the file.
        number: of the test before which it is written.
        processes: ids of processes by their role.
    """
    line = {"number": number, **{role: asdict(_holdings_of(pid)) for role, pid in processes.items()}}
    with path.open("a") as notes:
        notes.write(json.dumps(line) + "\n")


def read_notes(path: Path) -> list[tuple[int, dict[str, Holdings]]]:
    """The notes of `note_holdings`: test numbers, each with the holdings by role."""
    notes = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        notes.append((fields.pop("number"), {role: Holdings(**held) for role, held in fields.items()}))
    return notes


def _holdings_of(pid: int) -> Holdings:
    memory = memory_of(pid)
    tasks = os.listdir(f"/proc/{pid}/task")
    return Holdings(
        pid=pid,
        anonymous=memory["Anonymous"],
        pss=memory["Pss_Anon"],
        private_dirty=memory["Private_Dirty"],
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        threads=len(tasks),
        children=sum(len(Path(f"/proc/{pid}/task/{task}/children").read_text().split()) for task in tasks),
    )
