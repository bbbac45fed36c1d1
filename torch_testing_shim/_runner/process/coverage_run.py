"""Coverage: test files run under coverage.py, and one report about all of them.

Each process of a test file, ranks included, writes its own data beside `test/test-reports/coverage/data`; after the run
they are combined into that one file, which coverage.py's own commands read: `coverage html --data-file=...`.
"""

from __future__ import annotations

import io
import types
from pathlib import Path

from ..usage_error import UsageError, why

__all__ = ["begin_coverage", "combined_report", "coverage_arguments"]

#: The first version that can measure processes which end by os._exit, as ranks do.
OLDEST = (7, 10)
CONFIGURATION = Path(__file__).with_name("coverage.cfg")


def coverage_arguments(reports: Path) -> tuple[str, ...]:
    """What stands between the interpreter and a test file's path so that the file is measured."""
    return ("-m", "coverage", "run", f"--rcfile={CONFIGURATION}", f"--data-file={_data_file(reports)}")


def begin_coverage(reports: Path) -> None:
    """Makes room for the data of a run and takes away that of the last one.

    Raises:
        UsageError: coverage.py is not installed or too old, or the folder cannot be written.
    """
    _coverage()
    data = _data_file(reports)
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        for old in data.parent.glob(f"{data.name}*"):
            old.unlink()
    except OSError as error:
        raise UsageError(f"cannot write coverage data to {str(data.parent)!r}: {why(error)}") from error


def combined_report(root: Path, reports: Path) -> str:
    """Combines what the processes have measured; returns coverage.py's table of the files below `root`, or one sentence
    where there is none."""
    coverage = _coverage()
    measured = coverage.Coverage(data_file=str(_data_file(reports)), config_file=str(CONFIGURATION))
    table = io.StringIO()
    try:
        measured.combine()
        measured.save()
        measured.report(file=table, include=str(root / "*"), ignore_errors=True)
    except coverage.CoverageException as error:
        return f"coverage: {error}"
    return table.getvalue().rstrip("\n")


def _coverage() -> types.ModuleType:
    try:
        import coverage
    except ImportError as error:
        raise UsageError("--coverage needs coverage: pip install coverage") from error
    if coverage.version_info < OLDEST:
        raise UsageError(f"--coverage needs coverage 7.10 or newer, and {coverage.__version__} is installed")
    return coverage


def _data_file(reports: Path) -> Path:
    return reports / "coverage" / "data"
