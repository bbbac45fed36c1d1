"""Tests on ranks beside other plugins of pytest: pytest-timeout and pytest's own `--pdb`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: Where pytest-timeout's limit of a test is kept, in seconds.
TIME_LIMIT = pytest.StashKey[float]()
#: Where a process finds its terminal.
_TERMINAL = "/dev/tty"


def note_time_limit(item: Any, settings: Any) -> None:
    """Note pytest-timeout's limit of a test; it is the deadline of the test's ranks."""
    item.stash[TIME_LIMIT] = float(settings.timeout)


def stop_timer(item: Any) -> None:
    """Stop pytest-timeout's timer: from now on the ranks' deadline holds, whose report has their stacks."""
    cancel = getattr(item.config.hook, "pytest_timeout_cancel_timer", None)
    if cancel is not None and TIME_LIMIT in item.stash:
        cancel(item=item)


class NoPdbForRanks:
    """Stands for pytest's plugin of `--pdb`: it leaves out tests that ranks have run, which have no terminal.

    Args:
        pdb: pytest's plugin.
    """

    def __init__(self, pdb: Any) -> None:
        self._pdb = pdb

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        if getattr(node, "ranks", None) is None or call.when != "call":
            self._pdb.pytest_exception_interact(node, call, report)
            return
        node.config.get_terminal_writer().line(
            "\ntorch_testing_shim: ranks have no terminal for --pdb; --ranks-pdb RANK gives one of them this one"
        )

    def pytest_internalerror(self, excinfo: Any) -> None:
        self._pdb.pytest_internalerror(excinfo)


def leave_ranks_out_of_pdb(config: Any) -> None:
    """Put `NoPdbForRanks` into the place of pytest's plugin."""
    pdb = config.pluginmanager.getplugin("pdbinvoke")
    if pdb is not None and not isinstance(pdb, NoPdbForRanks):
        config.pluginmanager.unregister(pdb)
        config.pluginmanager.register(NoPdbForRanks(pdb), "pdbinvoke")


def check_terminal(rank: int | None) -> None:
    """Check that `--ranks-pdb` can be had.

    Raises:
        pytest.UsageError: it cannot.
    """
    if rank is None:
        return
    if rank < 0:
        raise pytest.UsageError(f"--ranks-pdb {rank}: ranks are numbered from 0")
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR))
    except OSError:
        raise pytest.UsageError("--ranks-pdb needs a terminal, which this process does not have") from None


@contextmanager
def lent_terminal(is_lent: bool) -> Iterator[None]:
    """Take the terminal back from a rank when the block is over."""
    try:
        yield
    finally:
        if is_lent:
            terminal = os.open(_TERMINAL, os.O_RDWR)
            _take_foreground(terminal)
            os.close(terminal)


def take_terminal() -> None:
    """Give this rank the terminal: its streams, its keys, Ctrl-C."""
    terminal = os.open(_TERMINAL, os.O_RDWR)
    _take_foreground(terminal)
    for descriptor in range(3):
        os.dup2(terminal, descriptor)
    os.close(terminal)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open until the rank ends


def _take_foreground(terminal: int) -> None:
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or it would stop a process in the background
    try:
        os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.signal(signal.SIGTTOU, before)
