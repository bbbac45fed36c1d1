"""The files in PyTorch's style, what is recorded of them, and how a file is run under each harness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conform.sample_verdicts import outcomes_of
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim._shared.main_part import read_main_part

_CONFORMANCE = Path(__file__).resolve().parents[1]
_ROOT = _CONFORMANCE.parents[1]
#: The sample files. The suite's discovery passes over what is below test/conformance.
FOLDER = _CONFORMANCE / "upstream_style"
#: The outcome of each test under the redirect: {file: {test: outcome}}.
_RECORD = FOLDER / "outcomes.json"
#: A file that takes longer is given up, in seconds; the longest takes two minutes upstream on a loaded machine.
_PATIENCE_SECONDS = 600.0
#: Variables that would make an outcome depend on who runs the file.
_CONFIGURES = ("TORCH_TESTING_SHIM_", "DISTRIBUTED_TESTS_", "PYTORCH_", "EXPECTTEST_", "WORLD_SIZE", "BACKEND", "CI")


@dataclass(frozen=True)
class FileRun:
    """The result of a file under one harness."""

    outcomes: Mapping[str, str]  # by "Class.test"
    seconds: float  # wall time of the process
    output: str  # the end of what it printed


def sample_files() -> dict[str, Path]:
    """The files by their names, sorted."""
    return {path.stem: path for path in sorted(FOLDER.glob("test_*.py"))}


def files_below(folder: Path) -> dict[str, Path]:
    """The test files below any folder by their paths in it, without ".py", sorted."""
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("test_*.py"))}


def read_record() -> dict[str, dict[str, str]]:
    """The recorded outcomes."""
    record: dict[str, dict[str, str]] = json.loads(_RECORD.read_text())
    return record


def write_record(outcomes: Mapping[str, Mapping[str, str]]) -> None:
    """Replace the record of the files in `outcomes`; those of files that are no more go."""
    known: dict[str, Mapping[str, str]] = {**(read_record() if _RECORD.exists() else {}), **outcomes}
    there = sample_files()
    kept = {name: dict(of_file) for name, of_file in known.items() if name in there}
    _RECORD.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def run_upstream(path: Path) -> FileRun:
    """Run a file under PyTorch's own harness, by unittest or by pytest, which keep a record."""
    recorder = "conform.pytest_record" if _is_for_pytest(path) else "conform.unittest_record"
    return _run(["-m", recorder, "{journal}", str(path)])


def run_ours(path: Path) -> FileRun:
    """Run a file under the redirect, by the command that a user would type."""
    return _run(["-m", "torch_testing_shim", *(["--pytest"] if _is_for_pytest(path) else []), str(path)])


def _is_for_pytest(path: Path) -> bool:
    return not read_main_part(path.read_bytes()).is_for_harness


def _run(arguments: Sequence[str]) -> FileRun:
    with tempfile.TemporaryDirectory(prefix="compare-samples-", ignore_cleanup_errors=True) as folder:
        journal, output = Path(folder, "journal"), Path(folder, "output")
        (temporary := Path(folder, "tmp")).mkdir()
        began = time.monotonic()
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, *(argument.format(journal=journal) for argument in arguments)],
                cwd=folder,
                env=clean_environment(TMPDIR=str(temporary), TORCH_TESTING_SHIM_JOURNAL=str(journal)),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _wait(process)
        seconds = time.monotonic() - began
        told = output.read_bytes()[-4000:].decode(errors="replace")
        return FileRun(outcomes_of(read_journal(journal)), seconds, told)


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's, less what configures a harness, on a machine without accelerators."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CONFIGURES)}
    path = os.pathsep.join([str(_CONFORMANCE), str(_ROOT)])
    return {**kept, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **changes}


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the process, and end what is left of its session."""
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing is left
