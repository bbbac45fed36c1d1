"""pytest's report of a test that ranks have run: the report over all ranks, and nothing of the harness's frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch_testing_shim._shared.pytest_report import show_report_alone

#: The property of a report that is a note on a test.
_NOTE = "rank note"


def tell_of_ranks(item: Any, call: Any, report: Any) -> None:
    """Make a report tell of its ranks, a marked test's or those of a test case."""
    ranks = getattr(item, "ranks", None)
    test = item if ranks is not None else getattr(item, "instance", None)
    if call.when == "call" and test is not None:
        kept = [one for one in item.user_properties if not str(one[0]).startswith("rank ")]  # those are of a rerun
        item.user_properties[:] = [*kept, *_properties(test)]
    error = call.excinfo.value if call.excinfo is not None else None
    if not getattr(error, "is_report", False):
        return
    show_report_alone(error, report.longrepr, item)
    if ranks is not None and report.skipped and hasattr(report, "wasxfail") and not _is_expected(item):
        report.outcome = "failed"
        del report.wasxfail


def _properties(test: Any) -> list[tuple[str, str]]:
    """Return the properties of a report that tell of the test's ranks."""
    if "_rank_records" not in vars(test):
        return []
    from torch_testing_shim._program.notes import notes_of, records_of  # here, since it imports torch

    ends = [(f"rank {one.rank}", f"{one.status} in {one.seconds:.3f} s") for one in records_of(test)]
    return [*ends, *((_NOTE, text) for text in notes_of(test))]


def note_lines(reports: Iterable[Any]) -> list[str]:
    """Return a line for each note on a test, of pytest's reports of all tests."""
    properties = [(report.nodeid, *one) for report in reports for one in getattr(report, "user_properties", ())]
    return list(dict.fromkeys(f"{nodeid}: {text}" for nodeid, name, text in properties if name == _NOTE))


def _is_expected(item: Any) -> bool:
    """Whether a mark that expects a test to fail takes the exception over its ranks for the expected one. Which type it
    has to be of, a rank has compared with its own."""
    if item.ranks.is_expected is not None:
        return bool(item.ranks.is_expected)
    return not any(mark.kwargs.get("raises") for mark in item.iter_markers("xfail"))
