"""The runner from beginning to end: options, choice of files, a list or a dry run or the run, the exit status."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.settings import read_launch
from torch_testing_shim._shared.standard_streams import open_standard_streams

from ..history.tree_history import History, merge_times_files
from ..plan.choice import choose
from ..plan.tree import Tree
from ..process.build_command import build_command
from ..process.stop import StopNow, StopRequest
from ..usage_error import UsageError, extra_for
from .arguments import CommandLine, make_options, read_command_line
from .completion import answer_shell
from .options import PROGRAM, Options
from .project import find_project, paths_among, tree_of, with_writable_reports
from .project_table import read_table
from .under_torchrun import refuse_under_torchrun, run_under_torchrun


def main(arguments: Sequence[str] | None = None, *, root: Path) -> int:
    """Run test files as `run_test.py` does and return the exit status.

    Args:
        arguments: without the program's name; by default the process's own.
        root: the absolute folder that holds run_test.py and, where its table does not say otherwise, the folder `test`.
    """
    return run_command(sys.argv[1:] if arguments is None else arguments, PROGRAM, root)


def run_command(arguments: Sequence[str], program: str, project: Path | None = None) -> int:
    """Do what a command line says and return the exit status.

    Args:
        project: the folder of the project, whose test files lie in its folder `test`; None to find it, and them, by
            the command line and the working folder.
    """

    launch = read_launch()

    def act(stop: StopRequest) -> int:
        answer_shell(lambda: _resolve(CommandLine({}), program, project)[1])
        options, tree = _resolve(read_command_line(arguments, program), program, project)
        if launch is not None:
            refuse_under_torchrun(options, launch)
        return _do(options, tree, stop)

    if launch is not None:
        return run_under_torchrun(launch, lambda: guarded(program, act))
    return guarded(program, act)


def guarded(program: str, act: Callable[[StopRequest], int]) -> int:
    """Run `act`, which the user may stop; return its exit status, or the status of the error that ended it."""
    open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever characters a name or a report has, it can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    with StopRequest() as stop:
        try:
            return act(stop)
        except UsageError as error:
            _tell(program, "error", str(error).splitlines())
            return ExitStatus.USAGE
        except BrokenPipeError:
            # or the interpreter would complain when it flushes what is left at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.OUTPUT_CLOSED
        except StopNow:
            assert stop.signal is not None
            return 128 + stop.signal


def _resolve(line: CommandLine, program: str, project: Path | None) -> tuple[Options, Tree]:
    """Resolve a command line and the project's table into options and the tree."""
    if project is not None:
        options = make_options(line, read_table(project), program)
        return options, tree_of(project, options, [], project / "test")
    paths = paths_among(line.requests)
    project = find_project(paths)
    options = make_options(line, read_table(project), program)
    return options, tree_of(project, options, paths)


def _do(options: Options, tree: Tree, stop: StopRequest) -> int:
    """Do what the options ask for."""
    _tell(options.program, "note", options.notes)
    times_path = options.times or tree.reports / "times.json"
    if options.merge_times:
        _tell(options.program, "note", merge_times_files(options.merge_times, times_path))
    if options.merge_times or options.merge_reports:
        return merge(options) if options.merge_reports else ExitStatus.PASSED
    tree = tree.with_upstream(options.upstream)
    if options.import_disabled_tests:
        return _import_disabled(options, tree)
    if options.report_surface:
        return _report_surface(tree)
    only_shows = options.list_names or options.dry_run
    needs_times = options.shard is not None or not only_shows
    tree, moved = with_writable_reports(tree, only_shows=only_shows)
    times_path = options.times or tree.reports / "times.json"
    history, unread = History.read(tree.reports, times_path, needs_times=needs_times)
    selected, notes = choose(options, tree, history)
    _tell(options.program, "note", [*moved, *unread, *notes])
    if options.list_names:
        return _print_lines(file.name for file in selected)
    if options.dry_run:
        return _print_lines(str(build_command(file, options, tree)) for file in selected)
    with extra_for("running tests needs"):
        from ..run import run  # only here: `--list` is quick because it does not need what a run needs
    return run(selected, options, tree, history, stop)


def merge(options: Options) -> int:
    """Merge the reports of several runs; return the verdict over all of them."""
    with extra_for("merging reports needs"):
        from ..report.merge_reports import merge_reports
    return merge_reports(options.merge_reports, options.report_html, options.program)


def _import_disabled(options: Options, tree: Tree) -> int:
    """Make expectations of PyTorch's list of disabled tests."""
    assert options.import_disabled_tests is not None
    with extra_for("expectations need"):
        from ..expectations.import_disabled import import_disabled_tests
    files = {name: tree.path(name) for name in tree.names}
    return _print_lines([import_disabled_tests(*options.import_disabled_tests, options.platforms, files)])


def _report_surface(tree: Tree) -> int:
    """Print which names PyTorch's files import and which of them are missing: in a process of its own, since the answer
    is in modules that import torch."""
    command = [sys.executable, "-m", "torch_testing_shim", "--report-surface", *map(os.path.abspath, tree.upstream)]
    return subprocess.run(command, cwd=tree.root, check=False).returncode


def _tell(program: str, kind: str, lines: Iterable[str]) -> None:
    for line in lines:
        print(f"{program}: {kind}: {line}", file=sys.stderr)


def _print_lines(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    sys.stdout.flush()
    return ExitStatus.PASSED
