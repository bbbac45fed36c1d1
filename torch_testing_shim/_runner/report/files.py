"""The reports that are written when a run has ended. They are checked before it, so that nobody waits for one in vain.

Each is written atomically: a reader finds a whole report or none. A report that cannot be written is a problem of the
run, never a silent gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._shared.atomic_write import make_writable, write_whole

from ..usage_error import extra_for, refusal
from .json_lines import to_json_lines
from .recorded_run import RecordedRun
from .trace import trace_json


@dataclass(frozen=True)
class ReportFiles:
    """The paths of the reports that the user wants; None for no such report."""

    html: Path | None = None
    trace: Path | None = None
    json_lines: Path | None = None

    def check(self) -> None:
        """Make the folders that are missing, and remove the reports of an earlier run."""
        for path in (self.html, self.trace, self.json_lines):
            if path is not None:
                _check(path)
        if self.html is not None:
            _page_writer()

    def write(self, run: RecordedRun) -> list[str]:
        """Write the reports; return one sentence for each that could not be written."""
        problems = []
        if self.json_lines is not None:
            problems += _written(self.json_lines, to_json_lines(run))
        if self.trace is not None:
            problems += _written(self.trace, [trace_json(run)])
        return problems + self.write_page([run], run.facts.exit_status)

    def write_page(self, runs: Sequence[RecordedRun], exit_status: int, problems: Sequence[str] = ()) -> list[str]:
        """Write the page alone, of one run or several (see `page_html`)."""
        if self.html is None:
            return []
        return _written(self.html, [_page_writer()(runs, exit_status, problems)])


def _page_writer() -> Callable[..., str]:
    """`page_html`, imported where a page is wanted: nothing else needs jinja2."""
    with extra_for("an HTML report needs"):
        from .page import page_html
    return page_html


def _check(path: Path) -> None:
    with refusal(f"write the report {str(path)!r}"):
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        make_writable(path.parent)
        path.unlink(missing_ok=True)  # a run that is killed must not leave the report of another


def _written(path: Path, parts: Iterable[str]) -> list[str]:
    """Write a report; return one sentence where it could not be written."""
    try:
        write_whole(path, parts)
    except OSError as error:
        return [f"the report {str(path)!r} could not be written: {error.strerror}"]
    return []
