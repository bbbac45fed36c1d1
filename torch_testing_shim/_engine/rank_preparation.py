"""Prepares a rank's process: once when it starts, and for each test that it runs."""

from __future__ import annotations

import faulthandler
import functools
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import IO, Any, TextIO

import torch

from torch_testing_shim._engine.collective_log import start_logging
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.loopback import listen_on_loopback
from torch_testing_shim._engine.new_interpreter import become_child
from torch_testing_shim._engine.process_state import take_on
from torch_testing_shim._engine.quick_store import meet_quickly
from torch_testing_shim._engine.rank_steps import STOPS_AT_SUBTEST, flush_output
from torch_testing_shim._engine.rank_warnings import RankWarning
from torch_testing_shim._engine.self_report import start_answering
from torch_testing_shim._shared.parent_death import signal_on_parent_death
from torch_testing_shim._shared.settings import read_settings

#: A rank that gets this signal writes its Python stacks, also while it is stuck inside a C++ collective.
STACKS_SIGNAL = signal.SIGUSR2
#: Makes gloo connect two ranks when they first communicate; torch 2.6 does not know it. Not the default: a rank that
#: connects to one that has gone notices it after 30 s, and the timeout of its group does not count (torch 2.13).
_LAZY_GLOO = "TORCH_GLOO_LAZY_INIT"
#: How many collectives torch's Flight Recorder keeps, 1.5 kB each, and how many in a rank that is reused: its memory
#: would grow for 1,000 tests until the default of 2,000 is reached.
_RECORDED, _FEW_RECORDED = "TORCH_FR_BUFFER_SIZE", "200"


def prepare_process(job: RankJob, parent_pid: int) -> None:
    """Make this process a rank, before its first test. `parent_pid` is the process whose death ends it."""
    os.setpgid(0, 0)  # so that processes of the test are ended with it, by group
    signal_on_parent_death(parent_pid, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGCHLD, signal.SIG_DFL),
    ):
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    become_child(job.controller_pid, job.rank)
    meet_quickly()
    if job.lasting_folder and not os.environ.get(_RECORDED):
        os.putenv(_RECORDED, _FEW_RECORDED)  # where torch reads it, and tests do not


class TestSurroundings:
    """The surroundings that a rank has for one test: the controller's state, and the files of the test's scratch folder
    that it writes to. `close` ends what would outlive the folder."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, job: RankJob) -> None:
        take_on(json.loads(job.folder.state.read_text()))
        listen_on_loopback(os.environ)
        if read_settings().lazy_connections and not os.environ.get(_LAZY_GLOO):
            os.putenv(_LAZY_GLOO, "1")  # where gloo reads it, and tests do not
        _redirect_output(job)
        self._warnings = _record_warnings(job)
        faulthandler.enable(sys.stderr)
        self._stacks = open(job.folder.stacks(job.rank), "w")  # noqa: SIM115 - faulthandler keeps the descriptor
        faulthandler.register(STACKS_SIGNAL, self._stacks, all_threads=True)
        self._stop_answering = start_answering(job.folder, job.rank)
        start_logging(job.folder.collectives(job.rank))
        os.environ["TMPDIR"] = tempfile.tempdir = str(job.folder.temporary)
        DRIVER.may_start = True
        if job.threads is not None:
            torch.set_num_threads(job.threads)
        STOPS_AT_SUBTEST.set(job.stops_at_subtest)

    def close(self) -> None:
        flush_output()
        self._stop_answering()
        faulthandler.unregister(STACKS_SIGNAL)
        self._stacks.close()
        warnings.showwarning = _own_showwarning()
        self._warnings.close()
        _fill_standard_descriptors()


def _redirect_output(job: RankJob) -> None:
    """Redirect descriptors 1 and 2 to the rank's file, so that C++ prints there too, and make `sys.stdout` and
    `sys.stderr` anew: pytest replaces the controller's by files of its own."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(job.folder.output(job.rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for descriptor in {null, output} - {0, 1, 2}:  # a test may have closed one of these, which the system gives anew
        os.close(descriptor)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False))  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc, assignment]


def _fill_standard_descriptors() -> None:
    """Open those of descriptors 0 to 2 that a test has closed: the next test's channel would get their numbers, and be
    lost when these are redirected."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _record_warnings(job: RankJob) -> IO[str]:
    """Write warnings to a file of their own: FSDP's tests give some hundred, and all ranks give the same."""
    stream = open(job.folder.warnings(job.rank), "a", buffering=1)  # noqa: SIM115 - open until the test ends
    show = _own_showwarning()

    def record(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            stream.write(RankWarning.of(message, category, filename, lineno).to_line())
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = record
    return stream


@functools.cache
def _own_showwarning() -> Callable[..., Any]:
    """Return the function that showed warnings when this process became a rank."""
    return warnings.showwarning
