"""The accelerator of this machine, asked in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass

from gpu_check.sample_run import ROOT, SAMPLES, run_python


@dataclass(frozen=True)
class Machine:
    """The machine, as torch tells of it."""

    device: str  # the accelerator's type, or "" where there is none
    count: int  # how many of them there are
    name: str  # what the first one calls itself
    torch: str  # torch's version

    def lines(self) -> list[str]:
        """The machine in the report's words."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return [
            f"{self.count} x {self.name} ({self.device}), torch {self.torch}, Python {platform.python_version()}, "
            f"{cores} cores, commit {_commit()}"
        ]


def ask_machine() -> Machine:
    """Ask torch.

    Raises:
        RuntimeError: torch cannot be asked; the message is what it printed.
    """
    run = run_python([str(SAMPLES / "machine.py")])
    if run.exit_code != 0:
        raise RuntimeError(run.output)
    return Machine(**json.loads(run.output.splitlines()[-1]))


def _commit() -> str:
    """The commit, with "+" where files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return "unknown"
    return result.stdout.strip() if result.returncode == 0 else "unknown"
