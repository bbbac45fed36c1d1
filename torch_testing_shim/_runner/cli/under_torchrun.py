"""The runner under torchrun: rank 0 runs the files, and the other processes follow it (`_program.following`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.launch import PART_VARIABLE, Launch, refusal_of
from torch_testing_shim._shared.main_part import PACKAGE
from torch_testing_shim._shared.python_command import interpreter_flags
from torch_testing_shim._shared.settings import changed_environment

from ..usage_error import UsageError
from .options import Options

#: The folder that the package lies in.
_ABOVE = Path(__file__).parents[3]


def run_under_torchrun(launch: Launch, act: Callable[[], int]) -> int:
    """In rank 0, call `act` and tell the others its status; in another rank, become a process that follows."""
    if launch.rank:
        command = _command("--follow")
        os.execve(command[0], command, _environment())
    with subprocess.Popen(
        _command("--lead"), env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdin is not None and leader.stdout is not None, "both are pipes"
        run, status = leader.stdout.readline().strip(), int(ExitStatus.FAILED)
        if not run:  # it has said why
            return ExitStatus.USAGE
        try:
            with changed_environment({PART_VARIABLE: run}):
                status = act()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else ExitStatus.FAILED
            raise
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another rank has ended
            leader.stdin.write(f"{int(status)}\n")
            leader.stdin.close()
        return status


def _command(option: str) -> list[str]:
    return [sys.executable, *interpreter_flags(), "-m", PACKAGE, option]


def _environment() -> dict[str, str]:
    paths = [str(_ABOVE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def refuse_under_torchrun(options: Options, launch: Launch) -> None:
    """Refuse options that make no sense where the ranks of every test are processes that run already."""
    given = {
        "-j": options.jobs > 1,
        "--shard": options.shard is not None,
        "--coverage": options.coverage,
        "--expectations": options.expectations is not None,  # the others do not get the list of what is skipped
    }
    if refusal := refusal_of(given):
        raise UsageError(refusal)
    wanted = options.settings.world_size
    if wanted not in (None, launch.world_size):
        raise UsageError(
            f"--world-size {wanted} cannot be had: torchrun has started {launch.world_size} processes, and tests that "
            "do not fix their number of ranks run on all"
        )
