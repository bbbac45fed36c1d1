"""A rank's outcome, of the reports that pytest makes of its test: a pytest plugin in the rank."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome, skip_outcome, skip_reason_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The sections of a report that are not the rank's own output, which has a file.
_NOT_SHOWN = ("Captured stdout", "Captured stderr")


class RankReports:
    """pytest calls the methods by their names.

    Args:
        rank: the rank.
        channel: told at once of the first exception, since what comes after it may be slow, or crash.
        warnings: the file of the rank's warnings.
    """

    def __init__(self, rank: int, channel: ChannelWriter, warnings: Path) -> None:
        self._rank = rank
        self._channel = channel
        self._warnings = warnings
        self._outcome: RankOutcome | None = None
        self._failed_subtest: RankOutcome | None = None
        self._made: tuple[Any, Any] = (None, None)  # the last report, and what was raised

    @property
    def has_failed(self) -> bool:
        """Whether the test has raised something that is not a skip."""
        self._take()
        return self._outcome is not None and self._outcome.status.is_bad

    @property
    def has_skipped(self) -> bool:
        self._take()
        return self._outcome is not None and not self._outcome.status.is_bad

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
        made = yield
        self._take()
        self._made = (made.get_result(), call.excinfo)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._take()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._take()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called in a rank for subtests alone."""
        _, raised = self._made
        self._made = (None, None)
        if report.failed and raised is not None:
            name = report._sub_test_description().strip()
            outcome = replace(self._of_exception(report, raised), subtest=name)
            self._failed_subtest = self._failed_subtest or outcome
            self._channel.send_subtest(outcome)

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Called for each warning of the test."""
        text = f"{warning_message.category.__name__}: {warning_message.message}"
        with open(self._warnings, "a") as stream:
            stream.write(json.dumps(text) + "\n")

    def end(self) -> RankOutcome:
        """Send and return the outcome, when the test is over."""
        self._take()
        if self._outcome is None:
            self._found(self._failed_subtest or pass_outcome(self._rank))
        elif not self._outcome.status.is_bad:
            self._channel.send(self._outcome)
        assert self._outcome is not None
        return self._outcome

    def _take(self) -> None:
        """Take the last report, which is not of a subtest, since another phase has begun or the test is over."""
        (report, raised), self._made = self._made, (None, None)
        if report is None or raised is None:
            return
        reason = skip_reason_of(raised.value)
        if reason is not None:
            self._outcome = self._outcome or skip_outcome(self._rank, reason)
        elif self._outcome is None or not self._outcome.status.is_bad:
            self._found(self._of_exception(report, raised))
        else:
            print(f"after that, {report.when} failed:\n{report.longreprtext}")

    def _found(self, outcome: RankOutcome) -> None:
        self._outcome = outcome
        self._channel.send(outcome)

    def _of_exception(self, report: Any, raised: Any) -> RankOutcome:
        outcome = outcome_of_exception(self._rank, raised.value)
        sections = [f"{title}:\n{text.rstrip()}" for title, text in report.sections if not title.startswith(_NOT_SHOWN)]
        where = "" if report.when == "call" else f"in {report.when}:\n"
        text = report.longreprtext or outcome.traceback
        expected = getattr(report, "wasxfail", None)
        return replace(outcome, traceback="\n\n".join([where + text, *sections]), expected=expected)
