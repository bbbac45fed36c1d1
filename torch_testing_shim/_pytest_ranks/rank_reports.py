"""A rank's outcome, of the reports that pytest makes of its test: a pytest plugin in the rank."""

from __future__ import annotations

import io
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _pytest._io import TerminalWriter
from _pytest.runner import runtestprotocol

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.rank_outcomes import (
    TEST_ERROR_EXIT_CODE,
    outcome_of_exception,
    pass_outcome,
    skip_outcome,
    skip_reason_of,
)
from torch_testing_shim._engine.rank_warnings import RankWarning

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The sections of a report that are not the rank's own output, which has a file.
_NOT_SHOWN = ("Captured stdout", "Captured stderr")
#: How the report begins of a test that passes and is marked by a strict `xfail`.
UNEXPECTED_PASS = "[XPASS(strict)]"


class RankReports:
    """pytest calls the methods by their names.

    Args:
        rank: the rank.
        channel: told at once of the first exception, since what comes after it may be slow, or crash.
        warnings: the file of the rank's warnings.
        is_copy: the rank's session is a copy, not the one of pytest's process.
    """

    def __init__(self, rank: int, channel: ChannelWriter, warnings: Path, *, is_copy: bool) -> None:
        self._rank = rank
        self._channel = channel
        self._warnings = warnings
        self._is_copy = is_copy
        self._outcome: RankOutcome | None = None
        self._failed_subtest: RankOutcome | None = None
        self._passes_unexpectedly = ""  # how pytest says it
        self._has_begun = self._is_in_call = False
        self._raised: Any = None  # last, as pytest's `ExceptionInfo`

    @property
    def has_failed(self) -> bool:
        """Whether the test has raised something that is not a skip."""
        return self._outcome is not None and self._outcome.status.is_bad

    @property
    def _is_expected(self) -> bool:
        """Whether a mark expects what the test has raised."""
        return self._outcome is not None and self._outcome.expected is not None

    @property
    def has_skipped(self) -> bool:
        return self._outcome is not None and not self._outcome.status.is_bad

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> bool:
        """Run the phases, in the place of the plugins that would do it otherwise, in wrappers of pytest's own."""
        self._has_begun = True
        runtestprotocol(item, log=False)
        return True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self) -> bool:
        """Keep pytest-timeout from setting a timer: its limit is the deadline of ranks."""
        return True

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, Any, None]:
        self._is_in_call = True
        yield
        self._is_in_call = False

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
        """Called after each phase, and within the call for each subtest."""
        of_unittest = getattr(item, "_excinfo", None)  # exceptions that it has caught, which pytest reports one by one
        self._raised = call.excinfo if self._is_in_call or not of_unittest else of_unittest[0]
        if self._is_in_call:
            yield
            return
        if self._raised is None:
            made = yield
            self._note_turned(made.get_result())
            return
        error = self._raised.value
        reason = skip_reason_of(error)
        before = self._outcome
        is_first = reason is None and (not self.has_failed or self._is_expected)
        if is_first:  # at once: pytest takes longer to format it than other ranks may have
            self._found(self._outcome_of(error))
        made = yield
        report = made.get_result()
        is_failure = report.failed or (reason is None and hasattr(report, "wasxfail"))
        if is_first and is_failure and self._outcome is not None:
            self._found(_as_reported(self._outcome, report))
        elif is_failure and reason is None:
            print(f"after that, {report.when} failed:\n{report.longreprtext}")
        elif is_failure:
            self._note_turned(report)
        else:  # a hook may have made it of an exception
            skipped = skip_outcome(self._rank, reason or _skip_reason(report)) if report.skipped else None
            self._outcome = before or skipped

    def _note_turned(self, report: Any) -> None:
        """Note a failure or a skip that a plugin has made of a pass, or a failure of a skip. A strict `xfail` makes a
        failure of a pass, which is judged over all ranks."""
        said = report.longreprtext if report.failed else ""
        if said.startswith(UNEXPECTED_PASS):
            self._passes_unexpectedly = said
        elif report.failed and not self.has_failed:
            failed = RankOutcome(self._rank, RankStatus.FAILED, time.monotonic(), exit_code=TEST_ERROR_EXIT_CODE)
            self._found(_as_reported(replace(failed, headline=said.partition("\n")[0], traceback=said), report))
        elif report.skipped and self._outcome is None:
            self._outcome = skip_outcome(self._rank, _skip_reason(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called in a rank for subtests alone."""
        if report.failed and self._raised is not None:
            name = report._sub_test_description().strip()
            outcome = outcome_of_exception(self._rank, self._raised.value)
            outcome = replace(_as_reported(outcome, report), subtest=name)
            self._failed_subtest = self._failed_subtest or outcome
            self._channel.send_subtest(outcome)

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Called for each warning of the test, and at first for those of pytest's process."""
        if not self._has_begun:
            return
        said = warning_message
        with open(self._warnings, "a") as stream:
            stream.write(RankWarning.of(said.message, said.category, said.filename, said.lineno).to_line())

    def end(self) -> RankOutcome:
        """Send and return the outcome, when the test is over."""
        if not self.has_failed:
            passed = replace(pass_outcome(self._rank), headline=self._passes_unexpectedly)
            self._found(self._failed_subtest or self._outcome or passed)
        assert self._outcome is not None
        return self._outcome

    def _outcome_of(self, error: BaseException) -> RankOutcome:
        outcome = outcome_of_exception(self._rank, error)
        if not isinstance(error, pytest.FixtureLookupError):
            return outcome
        where = " in a rank that is not forked from pytest's process" if self._is_copy else ""  # nor has its plugins
        said = error.msg or f"fixture {error.argname!r} not found{where}"  # its own text shows objects of pytest's
        return replace(outcome, headline=f"{type(error).__name__}: {said}")

    def _found(self, outcome: RankOutcome) -> None:
        self._outcome = outcome
        self._channel.send(outcome)


def _text_of(report: Any) -> str:
    """Return what pytest shows of a report; its `longreprtext` takes away the first line's indent."""
    text = io.StringIO()
    writer = TerminalWriter(text)
    writer.hasmarkup = False
    report.toterminal(writer)
    return text.getvalue().strip("\n")


def _skip_reason(report: Any) -> str:
    """Return why a report says that its test was skipped: pytest's have a path, a line and the reason."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return str(said).removeprefix("Skipped: ")


def _as_reported(outcome: RankOutcome, report: Any) -> RankOutcome:
    """Return an outcome with the exception as pytest shows it, and what else a report says."""
    sections = [f"{title}:\n{text.rstrip()}" for title, text in report.sections if not title.startswith(_NOT_SHOWN)]
    where = "" if report.when == "call" else f"in {report.when}:\n"
    traceback = "\n\n".join([where + (_text_of(report) or outcome.traceback), *sections])
    return replace(outcome, traceback=traceback, expected=getattr(report, "wasxfail", None))
