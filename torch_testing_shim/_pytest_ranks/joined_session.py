"""pytest under torchrun: every process runs the same tests in the same order, as a rank of each.

Rank 0 reports; the others are silent. Imports no torch before the tests have been collected.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from typing import Any

import pytest

from torch_testing_shim._program.voice import Voice
from torch_testing_shim._shared.launch import Launch, refusal_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Options of pytest, or of its plugins, that start processes of their own or let one process stop alone.
_REFUSED = {"-n": "numprocesses", "-x and --maxfail": "maxfail", "--forked": "forked", "--pdb": "usepdb"}


class JoinedSession:
    """A plugin of pytest in a process that torchrun has started; pytest calls its methods by their names."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._voice = Voice()
        self._uncollected: list[str] = []
        if launch.rank:
            self._voice.fall_silent()

    def pytest_configure(self, config: Any) -> None:
        if refusal := refusal_of({name: config.getoption(option, None) for name, option in _REFUSED.items()}):
            raise pytest.UsageError(refusal)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._uncollected.append(f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> Generator[None, Any, None]:
        """Run the tests together with the other processes."""
        if session.config.option.collectonly or not (session.items or self._uncollected):
            yield
            return
        from torch_testing_shim._program.joined_run import joined_run
        from torch_testing_shim._program.options import UsageError
        from torch_testing_shim._program.pytest_journal import PytestJournal, ReportDetails

        names = [item.nodeid for item in session.items]
        with contextlib.ExitStack() as stack:
            try:
                joined = stack.enter_context(joined_run(self._launch, names, self._facts(session, names), self._voice))
            except UsageError as error:
                raise pytest.UsageError(str(error)) from None
            log = joined.log(None)
            log.plan(names)
            left = set(log.left(names))
            session.items[:] = [item for item in session.items if item.nodeid in left]
            for plugin in (ReportDetails(), PytestJournal(log, {name: name for name in names})):
                session.config.pluginmanager.register(plugin)
            made = yield
            made.get_result()  # raises what has ended the tests
            if joined.merged(int(session.testsfailed > 0 or log.has_failures), log):
                session.testsfailed = session.testsfailed or 1  # on another rank, or before a restart, as has been told

    def _facts(self, session: Any, names: list[str]) -> dict[str, str]:
        from torch_testing_shim._engine.devices import checked_device
        from torch_testing_shim._program.joined_facts import facts_of
        from torch_testing_shim._shared.settings import read_settings

        settings = read_settings()
        files = sorted({str(item.path) for item in session.items})
        facts = facts_of(names, files, settings, checked_device(settings))
        return {**facts, "what cannot be collected": "; ".join(self._uncollected) or "nothing"}

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        sys.stdout.flush()
