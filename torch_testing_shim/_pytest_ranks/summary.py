"""pytest's report of a test that ranks have run: the report over all ranks, and nothing of the harness's frames."""

from __future__ import annotations

from typing import Any

from torch_testing_shim._shared.pytest_report import show_report_alone


def tell_of_ranks(item: Any, call: Any, report: Any) -> None:
    """Make a report tell of its ranks, a marked test's or those of a test case."""
    ranks = getattr(item, "ranks", None)
    test = item if ranks is not None else getattr(item, "instance", None)
    if call.when == "call" and test is not None:
        records = vars(test).get("_rank_records", ())
        kept = [(name, value) for name, value in item.user_properties if not name.startswith("rank ")]  # of a rerun
        new = [(f"rank {one.rank}", f"{one.status} in {one.seconds:.3f} s") for one in records]
        item.user_properties[:] = [*kept, *new]
    error = call.excinfo.value if call.excinfo is not None else None
    if not getattr(error, "is_report", False):
        return
    show_report_alone(error, report.longrepr)
    if ranks is not None and report.skipped and hasattr(report, "wasxfail") and not _is_expected(item):
        report.outcome = "failed"
        del report.wasxfail


def _is_expected(item: Any) -> bool:
    """Whether a mark that expects a test to fail takes the exception over its ranks for the expected one. Which type it
    has to be of, a rank has compared with its own."""
    if item.ranks.is_expected is not None:
        return bool(item.ranks.is_expected)
    return not any(mark.kwargs.get("raises") for mark in item.iter_markers("xfail"))
