"""The runner from beginning to end: options, choice of files, a list or a dry run or the run, the exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .arguments import parse_options
from .command import build_command
from .discovery import find_test_names
from .options import Options
from .result import ExitStatus
from .selection import FileSelection, Place, select
from .sharding import take_shard
from .stop import StopNow, StopRequest
from .usage_error import UsageError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, *, root: Path) -> int:
    """Runs test files and returns the exit status.

    Args:
        arguments: the command line without the program's name (default: the process's own).
        root: the absolute folder that holds run_test.py and the folder `test`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever characters a name or a report has, it can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    for note in options.notes:
        print(f"run_test.py: note: {note}", file=sys.stderr)
    with StopRequest() as stop:
        try:
            if options.merge_reports:
                return _merge(options)
            selected = _choose(options, root)
            if options.list_names:
                return _print_lines(file.name for file in selected)
            if options.dry_run:
                return _print_lines(str(build_command(file, options, root)) for file in selected)
            return _run(selected, options, root, stop)
        except UsageError as error:
            print("\n".join(f"run_test.py: error: {line}" for line in str(error).splitlines()), file=sys.stderr)
            return ExitStatus.USAGE
        except BrokenPipeError:
            # or the interpreter would complain when it flushes what is left at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.OUTPUT_CLOSED
        except StopNow:
            assert stop.signal is not None
            return 128 + stop.signal


def _choose(options: Options, root: Path) -> tuple[FileSelection, ...]:
    """The files that this command line is about."""
    test_folder = root / "test"
    try:
        place = Place(test_folder=str(test_folder.resolve()), working_folder=os.getcwd())
    except FileNotFoundError as error:
        raise UsageError("the folder that you are in is not there any more") from error
    include, exclude = (tuple(map(_without_links, texts)) for texts in (options.include, options.exclude))
    selected = select(find_test_names(test_folder), include, exclude, place)
    return take_shard(selected, options.shard) if options.shard else selected


def _without_links(text: str) -> str:
    """An absolute path without symbolic links, as `selection` compares it; anything else as it is."""
    return os.path.realpath(text) if os.path.isabs(text) else text


def _print_lines(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    sys.stdout.flush()
    return ExitStatus.PASSED


def _run(selected: Sequence[FileSelection], options: Options, root: Path, stop: StopRequest) -> int:
    """Runs the files with their reports. What only a run needs is imported here, which keeps `--list` quick."""
    try:
        from .file_process import scratch_folder
        from .report.session import RunReports
        from .schedule import RunPlan, run_all
    except ModuleNotFoundError as error:
        raise UsageError(f"running tests needs {error.name}: pip install 'torch-testing-shim[runner]'") from error

    reports = RunReports(options, root, expected={})
    plan = RunPlan(selected, lambda file: build_command(file, options, root), options, finish=reports.finish_file)
    with scratch_folder() as scratch, reports:
        summary = run_all(plan, scratch=scratch, stop=stop, report=reports.display, say=_say)
    return reports.finish(summary)


def _merge(options: Options) -> int:
    try:
        from .merge_command import merge_reports
    except ModuleNotFoundError as error:
        raise UsageError(f"merging reports needs {error.name}: pip install 'torch-testing-shim[runner]'") from error
    return merge_reports(options.merge_reports, options.report_html)


def _say(line: str) -> None:
    print(f"run_test.py: note: {line}", file=sys.stderr, flush=True)
