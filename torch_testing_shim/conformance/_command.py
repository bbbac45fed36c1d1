"""`python -m torch_testing_shim.conformance`: the suite, run on a storage that the command line names.

arguments > look up, try > write a test file > become that file: run_tests > report > exit status
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torch_testing_shim import __version__
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim.conformance._case import CHECKS, CheckpointConformance
from torch_testing_shim.conformance._named_storage import CommandError, NamedStorage, checked_strategies, source_of
from torch_testing_shim.conformance._report import Subject, checkpoint_table, storage_report
from torch_testing_shim.conformance._round_trips import round_trip_check
from torch_testing_shim.conformance._strategies import STRATEGIES

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_TORCHS = NamedStorage("torch.distributed.checkpoint", "FileSystemWriter", "FileSystemReader")
#: Seconds that a test of a thorough run may take: 125 round trips, the largest on 8 ranks.
_THOROUGH_SECONDS = 7200


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        storage: the storage.
        selection: name of the `Selection`, in `torch_testing_shim.conformance`.
        left_out: names of the tests that are left out.
        report: where the report goes; None for stdout.
        is_table: only the table of round trips is made, and no failure is taken for torch's.
    """

    storage: NamedStorage
    selection: str
    left_out: tuple[str, ...]
    report: Path | None
    is_table: bool


def main(main_names: dict[str, Any]) -> int:
    """Run the suite and return the exit status: the one of the tests, or 2 where the command line is wrong.

    Args:
        main_names: the names of the main module, which becomes the test file.
    """
    try:
        options = _parse(sys.argv[1:])
        folder = _folder()
    except CommandError as error:
        print(error, file=sys.stderr)
        return ExitStatus.USAGE
    command = shlex.join(["python", "-m", "torch_testing_shim.conformance", *sys.argv[1:]])
    try:
        options.storage.check(folder)
        status = _run(options, folder, main_names)
        test_class: type[CheckpointConformance] = main_names.get(
            f"{options.storage.writer}Conformance", CheckpointConformance
        )
        if status in (ExitStatus.PASSED, ExitStatus.FAILED):
            _write(_report(options, test_class, command), options.report)
        return status
    except CommandError as error:
        print(error, file=sys.stderr)
        return ExitStatus.USAGE
    finally:
        remove_folder(folder)


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m torch_testing_shim.conformance",
        description="Runs the conformance suite of distributed checkpoints on a storage.",
    )
    parser.add_argument("storage", nargs="?", help="my_package:MyWriter,MyReader; torch's own files by default")
    parser.add_argument(
        "--thorough", action="store_true", help="each optimizer with each pair of 1, 2, 3, 4 and 8 ranks"
    )
    parser.add_argument("--table", action="store_true", help="only round trips, as a table of strategies and ranks")
    parser.add_argument("--strategy", action="append", default=[], help="only round trips of this strategy; repeatable")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report to FILE, not to stdout")
    given = parser.parse_args(arguments)
    if given.storage is None and not given.table:
        raise CommandError("name a storage: python -m torch_testing_shim.conformance my_package:MyWriter,MyReader")
    if given.report is not None:
        _check_report(given.report)
    unwanted = checked_strategies(given.strategy)
    left_out = [round_trip_check(strategy).test_name for strategy in STRATEGIES if strategy.name in unwanted]
    if given.table:
        trips = {round_trip_check(strategy).test_name for strategy in STRATEGIES}
        left_out += [check.test_name for check in CHECKS if check.test_name not in trips]
    return Options(
        storage=_TORCHS if given.storage is None else NamedStorage.parse(given.storage),
        selection="THOROUGH" if given.thorough else "TABLE" if given.table else "DEFAULT",
        left_out=tuple(left_out),
        report=given.report,
        is_table=given.table,
    )


def _check_report(path: Path) -> None:
    """Check before the run that the report can be written.

    Raises:
        CommandError: it cannot.
    """
    if path.is_dir():
        raise CommandError(f"cannot write a report to {path}: it is a folder")
    place = path if path.exists() else path.absolute().parent
    if not (place == path or place.is_dir()) or not os.access(place, os.W_OK):
        raise CommandError(f"cannot write a report to {path}: its folder is missing, or it may not be written")


def _folder() -> Path:
    place = read_settings().temporary_folder
    try:
        return make_folder(place)
    except OSError as error:
        raise CommandError(f"cannot make a folder in {place or 'the temporary folder'}: {error.strerror}") from error


def _run(options: Options, folder: Path, main_names: dict[str, Any]) -> int:
    """Run the test file as `python FILE` does, in this process, and return its exit status."""
    path = folder / "test_named_storage.py"
    path.write_text(source_of(options.storage, options.selection, list(options.left_out), not options.is_table))
    sys.argv = [str(path)]
    main_names.update(__file__=str(path), __spec__=None, __package__=None, __doc__=None)
    os.environ["PYTORCH_PRINT_REPRO_ON_FAILURE"] = "0"  # the line would name a file that is removed
    if options.selection == "THOROUGH":
        os.environ["DISTRIBUTED_TESTS_DEFAULT_TIMEOUT"] = str(_THOROUGH_SECONDS)
    try:
        exec(compile(path.read_text(), str(path), "exec"), main_names)
    except SystemExit as end:
        return int(end.code or 0)
    return ExitStatus.NOTHING_RAN


def _report(options: Options, test_class: type[CheckpointConformance], command: str) -> str:
    device = device_in_use()
    where = f"torch {torch.__version__}, Python {platform.python_version()}, {device.type} ranks"
    title = f"{options.storage.writer}, {options.storage.reader}"
    subject = Subject(title, f"{where}, torch_testing_shim {__version__}", command)
    if options.is_table:
        return checkpoint_table(subject, test_class.rows)
    return storage_report(subject, test_class.rows, test_class.unended())


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="", flush=True)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandError(f"cannot write a report to {path}: {error.strerror}") from error
