"""Coverage: test files run under coverage.py, and one report about all of them.

Each process of a test file, ranks included, writes its own data beside `coverage/data` in the reports folder. After the
run they are combined into that one file, which coverage.py's own commands read: `coverage html --data-file=...`.
"""

from __future__ import annotations

import io
import types
from pathlib import Path

from ..usage_error import UsageError, refusal

#: The first version that measures processes that end by os._exit, as ranks do.
OLDEST = (7, 10)
CONFIGURATION = Path(__file__).with_name("coverage.cfg")


def coverage_arguments(reports: Path) -> tuple[str, ...]:
    """The words between the interpreter and a test file's path that have the file measured."""
    return ("-m", "coverage", "run", f"--rcfile={CONFIGURATION}", f"--data-file={_data_file(reports)}")


def begin_coverage(reports: Path) -> None:
    """Make the folder for the data of a run and remove the data of the last run."""
    _coverage()
    data = _data_file(reports)
    with refusal(f"write coverage data to {str(data.parent)!r}"):
        data.parent.mkdir(parents=True, exist_ok=True)
        for old in data.parent.glob(f"{data.name}*"):
            old.unlink()


def combined_report(root: Path, reports: Path) -> str:
    """Combine the data of all processes; return coverage.py's table of the files below `root`, or one sentence where
    there is none."""
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
