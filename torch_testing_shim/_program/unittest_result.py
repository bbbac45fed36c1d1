"""unittest's text result that also makes one `JournalEntry` of each test, whatever happened to it.

Several things may happen to one test (its body fails, then its tear-down raises; three of its subtests fail): see
`log.RunningTest`. A fixture that fails (`setUpClass`, `setUpModule`) gets an entry of its own, and so does every test
that did not run because of it.
"""

from __future__ import annotations

import sys
import time
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch_testing_shim._program.interrupts import without_the_handler
from torch_testing_shim._program.log import UNEXPECTED_SUCCESS, Event, RunningTest, TestLog, headline, interrupt_report
from torch_testing_shim._program.notes import notes_of, records_of
from torch_testing_shim._program.selection import class_name, test_name
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.repeated_frames import fold_repeated_frames

__unittest = True  # unittest and pytest leave the frames of this module out of a report


@dataclass(frozen=True)
class Fixture:
    """A set-up or tear-down that several tests share."""

    name: str  # "Class.setUpClass", or "setUpModule"
    tests: tuple[str, ...] = ()  # the tests that cannot run where it fails


class Fixtures:
    """The fixtures of a run's tests, by the text with which unittest reports one: "setUpClass (module.Class)"."""

    def __init__(self, tests: Sequence[unittest.TestCase]) -> None:
        self._by_text: dict[str, Fixture] = {}
        for test in tests:
            module, name = type(test).__module__, class_name(test)
            path = f"{module}.{type(test).__qualname__}"
            self._add(f"setUpClass ({path})", f"{name}.setUpClass", test_name(test))
            self._add(f"tearDownClass ({path})", f"{name}.tearDownClass")
            self._add(f"setUpModule ({module})", "setUpModule", test_name(test))
            self._add(f"tearDownModule ({module})", "tearDownModule")

    def _add(self, text: str, name: str, *tests: str) -> None:
        known = self._by_text.get(text, Fixture(name))
        self._by_text[text] = Fixture(name, known.tests + tests)

    def find(self, text: str) -> Fixture:
        return self._by_text.get(text, Fixture(text))


class ExitOutsideTests(unittest.TestCase):
    """Stands for a test where `sys.exit` was called outside of one, which ends the run."""

    def id(self) -> str:
        return "sys.exit"

    def __str__(self) -> str:
        return "sys.exit outside of a test"

    def runTest(self) -> None:  # unittest makes no instance without; a docstring would be shown as the test's
        pass


class JournalingResult(unittest.TextTestResult):
    """unittest's text result; the entries go to `log`."""

    _cut_short: unittest.TestCase | None = None  # the test that the interrupt came in
    _where_cut_short = ""

    def __init__(
        self,
        *args: Any,
        log: TestLog,
        fixtures: Fixtures,
        swallowed: Callable[[], KeyboardInterrupt | None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._swallowed = swallowed
        self.interrupted = False  # the user stopped the run, so it was no success
        self._log = log
        self._fixtures = fixtures
        self._running: RunningTest | None = None

    def wasSuccessful(self) -> bool:
        return super().wasSuccessful() and not self.interrupted

    def interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Take the interrupt that has ended the run, when it has left unittest; its message may be a report."""
        self.interrupted = True
        test = self._cut_short or unittest.TestCase()
        report = interrupt_report(interrupt)
        error = (type(interrupt), interrupt, without_the_handler(interrupt.__traceback__))
        self._where_cut_short = report or self._exc_info_to_string(error, test)  # type: ignore[attr-defined]
        if self._cut_short is not None:
            self._log.interrupt(test_name(test), report, self._where_cut_short)

    def printErrors(self) -> None:
        super().printErrors()
        if self.interrupted:
            what = "between tests" if self._cut_short is None else self.getDescription(self._cut_short)
            heading = [self.separator1, f"INTERRUPTED: {what}", self.separator2]
            self.stream.writeln("\n".join([*heading, self._where_cut_short.rstrip("\n"), ""]))

    def startTest(self, test: unittest.TestCase) -> None:
        self._running = RunningTest(test_name(test))
        self._log.start(self._running.name)
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        entry = self._running.entry(records_of(test)) if self._running is not None else None
        self._running = None
        is_on_its_way = isinstance(sys.exc_info()[1], KeyboardInterrupt)  # through unittest
        swallowed = None if is_on_its_way else self._swallowed()
        is_cut_short = is_on_its_way or swallowed is not None
        if is_cut_short and (entry is None or not entry.status.is_failure):  # its subtests may have passed so far
            self._cut_short = test
        elif entry is not None:
            self._log.end(replace(entry, notes=notes_of(test)))
        if swallowed is not None:
            raise swallowed

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._happened(Event(TestStatus.PASSED))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._happened(Event(TestStatus.FAILED, headline(err[1]), _fold_last(self.failures)))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        event = Event(TestStatus.ERROR, headline(err[1]), _fold_last(self.errors))
        if self._running is None:
            self._fixture_failed(test, event)
        else:
            self._happened(event)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        if self._running is None and isinstance(test, unittest.TestCase):
            self.startTest(test)  # Python 3.12.1 does not, where a decorator skips the test (python/cpython#106584)
        super().addSkip(test, reason)
        if self._running is None:
            for name in self._fixtures.find(test.id()).tests:
                self._did_not_run(name, Event(TestStatus.SKIPPED, reason))
        else:
            self._happened(Event(TestStatus.SKIPPED, reason))

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._happened(Event(TestStatus.EXPECTED_FAILURE))

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._happened(Event(TestStatus.UNEXPECTED_SUCCESS, UNEXPECTED_SUCCESS))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is None:
            self._happened(Event(TestStatus.PASSED))
            return
        is_failure = issubclass(err[0], test.failureException)
        status = TestStatus.FAILED if is_failure else TestStatus.ERROR
        report = _fold_last(self.failures if is_failure else self.errors)
        self._happened(Event(status, headline(err[1]), f"{subtest}\n{report}"))

    def _happened(self, event: Event) -> None:
        assert self._running is not None, "unittest reports on tests between startTest and stopTest"
        self._running.events.append(event)

    def _fixture_failed(self, holder: unittest.TestCase, event: Event) -> None:
        fixture = self._fixtures.find(holder.id())
        self._log.end(JournalEntry(fixture.name, event.status, 0.0, event.reason, event.detail, time.time()))
        for name in fixture.tests:
            self._did_not_run(
                name, Event(TestStatus.ERROR, f"did not run, since {fixture.name} failed: {event.reason}")
            )

    def _did_not_run(self, name: str, event: Event) -> None:
        self._log.start(name)
        self._log.end(JournalEntry(name, event.status, 0.0, event.reason, event.detail, time.time()))


def _fold_last(reports: list[tuple[unittest.TestCase, str]]) -> str:
    """The report that unittest has just added, with recursions folded there, too."""
    test, text = reports[-1]
    reports[-1] = (test, fold_repeated_frames(text))
    return reports[-1][1]
