"""Native stacks of hung ranks by py-spy, where that is installed (extra `hang`)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping

__all__ = ["native_stacks"]


def native_stacks(pids: Mapping[int, int], seconds: float) -> dict[int, str]:
    """What `py-spy dump --native` tells of the processes, or in one line why it does not; empty without py-spy.

    Args:
        pids: process ids by rank.
        seconds: how long all of it may take.
    """
    program = shutil.which("py-spy")
    if program is None:
        return {}
    give_up = time.monotonic() + seconds
    runs = {rank: _start(program, pid) for rank, pid in pids.items()}
    return {rank: run if isinstance(run, str) else _output(run, give_up) for rank, run in runs.items()}


def _start(program: str, pid: int) -> subprocess.Popen[str] | str:
    try:
        return subprocess.Popen(
            [program, "dump", "--native", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return f"py-spy cannot be run: {error.strerror}"


def _output(run: subprocess.Popen[str], give_up: float) -> str:
    try:
        text, _ = run.communicate(timeout=max(0.0, give_up - time.monotonic()))
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return "py-spy took too long"
    text = text.strip()
    return text if run.returncode == 0 else f"py-spy failed: {text.splitlines()[-1] if text else run.returncode}"
