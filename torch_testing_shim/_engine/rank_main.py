"""The main program of a rank: one process, one `RankJob`, one `RankOutcome`.

A rank prepares its process (own process group, the controller's state, own output file, TMPDIR, stacks on a signal),
finds the test class by name, and calls its `_run`. It ends by `os._exit`, as a forked child of multiprocessing does, so
that it does not run what the controller registered with `atexit`. May import torch, never a face.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TextIO

import torch

from torch_testing_shim._engine.backend_records import BackendHookError, FoundBackend, backend_record
from torch_testing_shim._engine.channel import THIS_RANK, ChannelWriter, CommonEnd
from torch_testing_shim._engine.collective_log import start_logging
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._engine.job import RankJob, unpack_call
from torch_testing_shim._engine.loopback import listen_on_loopback
from torch_testing_shim._engine.new_interpreter import become_child, import_module
from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.process_state import take_on
from torch_testing_shim._engine.rank_outcomes import (
    TEST_ERROR_EXIT_CODE,
    outcome_of_exception,
    outcome_of_exit,
    pass_outcome,
    skip_reason_at_end,
)
from torch_testing_shim._engine.rank_steps import STOPS_AT_SUBTEST, flush_output
from torch_testing_shim._engine.self_report import start_answering
from torch_testing_shim._engine.shared_devices import share_devices
from torch_testing_shim._shared.exit_status import exit_code_of
from torch_testing_shim._shared.parent_death import signal_on_parent_death

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: A rank that gets this signal writes its Python stacks, also while it is stuck inside a C++ collective.
STACKS_SIGNAL = signal.SIGUSR2


def run_rank(job: RankJob, descriptors: Sequence[int], parent_pid: int) -> NoReturn:
    """Carries out the job in this process and ends the process.

    Args:
        job: the order.
        descriptors: the rank's end of its channel, and the job's own descriptors.
        parent_pid: the process whose death ends this one.
    """
    exit_code = 1
    try:
        exit_code = _run_job(job, descriptors, parent_pid)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            flush_output()
        finally:
            os._exit(exit_code)


def _prepare_process(job: RankJob, parent_pid: int) -> None:
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
    take_on(json.loads(job.folder.state.read_text()))
    listen_on_loopback(os.environ)
    _redirect_output(job)
    _record_warnings(job)
    faulthandler.enable(sys.stderr)
    stacks = open(job.folder.stacks(job.rank), "w")  # noqa: SIM115 - faulthandler keeps the descriptor for good
    become_child(job.controller_pid, job.rank)
    faulthandler.register(STACKS_SIGNAL, stacks, all_threads=True)
    start_answering(job.folder, job.rank)
    start_logging(job.folder.collectives(job.rank))
    os.environ["TMPDIR"] = tempfile.tempdir = str(job.folder.temporary)
    DRIVER.may_start = True
    if job.threads is not None:
        torch.set_num_threads(job.threads)


def _redirect_output(job: RankJob) -> None:
    """Redirects descriptors 1 and 2 to the rank's file, so that C++ prints there too, and makes `sys.stdout` and
    `sys.stderr` anew: pytest replaces the controller's by files of its own."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(job.folder.output(job.rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False))  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc, assignment]


def _record_warnings(job: RankJob) -> None:
    """Writes warnings to a file of their own: FSDP's tests give some hundred, and all ranks give the same."""
    stream = open(job.folder.warnings(job.rank), "a", buffering=1)  # noqa: SIM115 - open until the rank ends
    show = warnings.showwarning

    def record(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            stream.write(json.dumps(f"{category.__name__}: {message}") + "\n")
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = record


def _run_job(job: RankJob, descriptors: Sequence[int], parent_pid: int) -> int:
    """Runs the test and returns the exit code of the process."""
    channel = THIS_RANK.channel = ChannelWriter(descriptors[0])

    def call() -> None:
        _prepare_process(job, parent_pid)
        share_devices(job.world_size)
        channel.common_end = CommonEnd(job.folder)
        run_between_hooks(job, channel, _call_of(job, _find_class(job), descriptors[1:]))

    return exit_code_of_call(job, channel, call)


def exit_code_of_call(job: RankJob, channel: ChannelWriter, call: Callable[[], object]) -> int:
    """Runs a rank's test and tells how it ended. Returns the exit code of a process that ends with it."""
    STOPS_AT_SUBTEST.set(job.stops_at_subtest)
    try:
        call()
        _tell_pass(job.rank, channel)
    except SystemExit as request:
        return _exit_code_of(request, job.rank, channel)
    except BaseException as error:
        if channel.sent is None or not channel.sent.status.is_exception:  # the first exception is the cause
            channel.send(outcome_of_exception(job.rank, error))
        return TEST_ERROR_EXIT_CODE
    return 0


def _call_of(job: RankJob, test_class: Any, descriptors: Sequence[int]) -> Callable[[], object]:
    """Returns the rank's call: of the class's `_run`, or of an object that the class has prepared in its place."""
    prepared = job.folder.call(job.rank)
    if prepared.exists():
        called: Callable[[], object] = unpack_call(prepared.read_bytes(), descriptors).run
        return called
    pipe = Connection(descriptors[0]) if descriptors else None
    return lambda: test_class._run(job.rank, job.method, job.rendezvous_file, pipe, **job.run_arguments)


def _tell_pass(rank: int, channel: ChannelWriter) -> None:
    """Sends a pass where a class's own `_run`, which knows of no channel, has run the body."""
    if channel.sent is None and THIS_RANK.has_run_body:
        channel.send(pass_outcome(rank))


def _exit_code_of(request: SystemExit, rank: int, channel: ChannelWriter) -> int:
    code = exit_code_of(request)
    if code == 0:
        _tell_pass(rank, channel)
    if channel.sent is None and (skip := outcome_of_exit(rank, request)) is not None:
        channel.send(skip)
    return code


def _find_class(job: RankJob) -> Any:
    """Returns the test class, from the module that the zygote has or that this process imports."""
    found: Any = import_module(job.module, job.module_file)
    for name in job.class_name.split("."):
        found = getattr(found, name)
    return found


def run_between_hooks(job: RankJob, channel: ChannelWriter, run: Callable[[], object]) -> None:
    """Runs a rank's test between the hooks of the device in use. `run` raises where the test has not passed.

    Raises:
        BackendHookError: `before_rank` raised, so that the test did not run; or `after_rank` did, and the test has not
            failed.
        BaseException: what `run` raised.
    """
    backend = backend_record(device_in_use().type)
    if backend is None:
        run()
        return
    _call_hook(backend, "before_rank", job)
    try:
        run()
    except BaseException as end:
        try:
            _call_hook(backend, "after_rank", job)
        except BackendHookError as error:
            if _is_skip(end, channel):
                raise error from error.__cause__
            print(f"after that, {error}", file=sys.stderr)
            traceback.print_exception(error.__cause__)
        raise
    _call_hook(backend, "after_rank", job)


def _call_hook(backend: FoundBackend, name: str, job: RankJob) -> None:
    hook = getattr(backend.record, name)
    if hook is None:
        return
    try:
        hook(job.rank, job.world_size)
    except Exception as error:
        whose = f"{name} of the backend record for {backend.record.device_type!r} ({backend.source})"
        raise BackendHookError(f"{whose} raised {type(error).__name__}: {error}") from error


def _is_skip(end: BaseException, channel: ChannelWriter) -> bool:
    """Whether a test that has not returned has skipped."""
    if channel.sent is not None:
        return channel.sent.status is RankStatus.SKIPPED
    return skip_reason_at_end(end) is not None
