"""The schedule: which file runs when, and when the run stops. For now one after the other, in the order given.

The run stops after the first file that failed, unless it is to keep going, and as soon as the user asks to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .command import FileCommand
from .file_process import run_file
from .fold import fold
from .report.events import RunReport
from .report.junit import JUnitReport
from .result import FileResult, RunSummary
from .stop import StopRequest

__all__ = ["run_all"]


def run_all(
    commands: Sequence[FileCommand],
    *,
    keep_going: bool,
    scratch: Path,
    stop: StopRequest,
    terminal: RunReport,
    junit: JUnitReport | None,
) -> RunSummary:
    """Runs the commands and reports each file as it ends.

    Args:
        commands: what to run, in order.
        keep_going: go on after a file that failed.
        scratch: folder in which every file has one of its own while it runs.
        stop: the user's wish to stop.
        terminal: told what happens.
        junit: writes a file's report, or None.
    """
    results: list[FileResult] = []
    terminal.run_started([command.name for command in commands])
    for number, command in enumerate(commands, start=1):
        if stop.signal is not None:
            break
        watcher = terminal.process_started(command.name)
        try:
            ending, journal = run_file(command, scratch / str(number), stop, watcher)
        finally:
            terminal.process_ended(watcher)
        result = fold(ending, journal)
        if junit is not None:
            result = junit.write(result)
        terminal.file_ended(result)
        results.append(result)
        if result.failed and not keep_going:
            break
    not_run = tuple(command.name for command in commands[len(results) :])
    return RunSummary(tuple(results), not_run, stop.signal)
