"""One command, run to its end, and what its journal says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.journal_reading import read_journal

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "test" / "gpu" / "samples"
#: Where samples may keep something between two tests.
FOLDER = "GPU_CHECK_FOLDER"
#: Variables that would make an outcome depend on who runs the check. Those that hide devices stay.
_CONFIGURES = ("TORCH_TESTING_SHIM_", "DISTRIBUTED_TESTS_", "PYTORCH_", "WORLD_SIZE", "BACKEND", "CI")
#: A command that takes longer is given up, in seconds: the whole check is to take five minutes.
LIMIT_SECONDS = 150.0


@dataclass(frozen=True)
class SampleRun:
    """The result of a command."""

    exit_code: int | None  # of its process; negative for a signal; None where it was given up
    output: str  # stdout and stderr together
    entries: Mapping[str, JournalEntry]  # its journal's, by "Class.test"
    seconds: float  # wall time of the process


def run_python(
    arguments: Sequence[str], variables: Mapping[str, str] | None = None, limit: float = LIMIT_SECONDS
) -> SampleRun:
    """Run `python ARGUMENT ...` in a folder of its own.

    Args:
        arguments: what follows `python`.
        variables: what its environment has besides.
        limit: seconds after which it and all that it started are ended.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        began = time.monotonic()
        with (folder / "output").open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**_environment(folder), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            exit_code = _wait(process, limit)
        seconds = time.monotonic() - began
        entries = {entry.test: entry for entry in read_journal(folder / "journal").entries}
        return SampleRun(exit_code, (folder / "output").read_text(errors="replace"), entries, seconds)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CONFIGURES)}
    path = os.pathsep.join([str(ROOT), str(ROOT / "test" / "gpu"), kept.get("PYTHONPATH", "")])
    return {
        **kept,
        "PYTHONPATH": path.rstrip(os.pathsep),
        "TMPDIR": str(folder / "tmp"),
        FOLDER: str(folder),
        "TORCH_TESTING_SHIM_JOURNAL": str(folder / "journal"),
    }


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for the process, and end what is left of its session."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
