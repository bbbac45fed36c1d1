"""A run as written reports tell it: what it came to, and where and when that was.."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from ..result import RunSummary

__all__ = ["RecordedRun", "RunFacts", "describe_machine"]


@dataclass(frozen=True)
class RunFacts:
    """Where and when a run was.

    Attributes:
        started_at: when it started, in seconds since the epoch.
        seconds: its wall time.
        exit_status: what run_test.py ended with.
        command: the command line, as a shell takes it.
        machine: the machine in a few words.
        shard: which of how many shards, or None where the run was no shard.
    """

    started_at: float
    seconds: float
    exit_status: int
    command: str = ""
    machine: str = ""
    shard: tuple[int, int] | None = None


@dataclass(frozen=True)
class RecordedRun:
    """One run.

    Attributes:
        facts: where and when it was.
        summary: what it came to.
        group: where runs of several machines are merged, the group of shards that this one belongs to; else "".
    """

    facts: RunFacts
    summary: RunSummary
    group: str = ""

    @property
    def name(self) -> str:
        """The run as people tell it from the others: "python3.11, shard 1 of 4"; "" where it is the only one."""
        shard = f"shard {self.facts.shard[0]} of {self.facts.shard[1]}" if self.facts.shard else ""
        return ", ".join(part for part in (self.group, shard) if part)


def describe_machine() -> str:
    """This machine: "Python 3.11.7, Linux x86_64, 2 cores"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    python = f"Python {platform.python_version()}"
    return f"{python}, {platform.system()} {platform.machine()}, {cores} {'core' if cores == 1 else 'cores'}"
