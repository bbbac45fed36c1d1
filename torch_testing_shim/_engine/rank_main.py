"""The main program of a rank: one process, one `RankJob`, one `RankOutcome`.

A rank prepares its process (own process group, the controller's state, own output file, TMPDIR, stacks on a signal),
finds the test class by name, and calls its `_run`. It ends by `os._exit`, as a forked child of multiprocessing does, so
that it does not run what the controller registered with `atexit`. May import torch, never a face.

A rank that is reused carries out job after job, until one does not pass:

    controller  --job + its channel-->  [ prepare, run, tidy up ]  --RankOutcome with what the test left-->  controller
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from torch_testing_shim._engine.backend_records import BackendHookError, FoundBackend, backend_record
from torch_testing_shim._engine.channel import THIS_RANK, ChannelWriter, CommonEnd
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.job import RankJob, unpack_call
from torch_testing_shim._engine.new_interpreter import import_module
from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.rank_outcomes import (
    TEST_ERROR_EXIT_CODE,
    outcome_of_exception,
    outcome_of_exit,
    pass_outcome,
    skip_reason_at_end,
)
from torch_testing_shim._engine.rank_preparation import TestSurroundings, prepare_process
from torch_testing_shim._engine.rank_server import MOST_DESCRIPTORS, ORDER_BYTES
from torch_testing_shim._engine.rank_steps import flush_output
from torch_testing_shim._engine.shared_devices import share_devices
from torch_testing_shim._shared.exit_status import exit_code_of
from torch_testing_shim._shared.parent_death import adopt_orphans

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def run_rank(job: RankJob, descriptors: Sequence[int], parent_pid: int) -> NoReturn:
    """Carry out the job in this process, and those that follow it, and end the process.

    Args:
        job: the order.
        descriptors: the rank's end of its channel, and the job's own descriptors.
        parent_pid: the process whose death ends this one.
    """
    exit_code = 1
    try:
        process = _RankProcess(parent_pid)
        exit_code = (_run_jobs if job.lasting_folder else _run_job)(job, descriptors, process)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            flush_output()
        finally:
            os._exit(exit_code)


class _RankProcess:
    """This process, as it prepares itself for tests and tidies up after them. `parent_pid` is as in `run_rank`."""

    def __init__(self, parent_pid: int) -> None:
        self._parent_pid = parent_pid
        self._surroundings: TestSurroundings | None = None
        self._keeper: Any = None

    def prepare(self, job: RankJob) -> None:
        """Prepare the process for a test."""
        if self._surroundings is not None:
            self._surroundings = TestSurroundings(job)
            return
        prepare_process(job, self._parent_pid)
        self._surroundings = TestSurroundings(job)
        share_devices(job.world_size)
        if job.lasting_folder:
            adopt_orphans()  # processes that a test leaves, so that they are ended after it
            self._keeper = _find_class(job)._rank_keeper(job)

    def tidy_up(self) -> tuple[str, ...]:
        """Put back what the test has changed. Return a sentence for each thing that it has left nevertheless."""
        try:
            left: tuple[str, ...] = self._keeper.after_test()
        except Exception as error:  # of the harness, or of something that the test has patched
            traceback.print_exc()
            left = (f"its state could not be put back ({type(error).__name__}: {error})",)
        assert self._surroundings is not None, "a test has been run"
        self._surroundings.close()
        return left


def _run_jobs(job: RankJob, descriptors: Sequence[int], process: _RankProcess) -> int:
    """Run test after test, as long as they pass or skip and the controller sends others. Return the exit code of the
    process, which may be one that a test has forked."""
    pid = os.getpid()
    *descriptors, number = descriptors
    with socket.socket(fileno=number) as orders:
        while True:
            exit_code = _run_job(job, descriptors, process)
            channel = THIS_RANK.channel
            assert channel is not None, "a test has been run"
            sent = channel.sent
            if sent is None or sent.status.is_bad or sent.exit_code != exit_code or os.getpid() != pid:
                return exit_code
            channel.send(over := replace(sent, is_over=True))
            channel.send(replace(over, left=process.tidy_up()))
            channel.close()
            message, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES, MOST_DESCRIPTORS)
            if not message:
                return 0
            job = RankJob.from_json(message.decode())


def _run_job(job: RankJob, descriptors: Sequence[int], process: _RankProcess) -> int:
    """Run the test and return the exit code that it asks for."""
    channel = THIS_RANK.channel = ChannelWriter(descriptors[0])
    THIS_RANK.has_run_body = False

    def call() -> None:
        process.prepare(job)
        channel.common_end = CommonEnd(job.folder)
        called = _call_of(job, _find_class(job), descriptors[1:])
        copy_context().run(run_between_hooks, job, channel, called)  # so that the next test finds no variable of it

    return exit_code_of_call(job, channel, call)


def exit_code_of_call(job: RankJob, channel: ChannelWriter, call: Callable[[], object]) -> int:
    """Run a rank's test and tell how it ended. Return the exit code that the test asks for."""
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
    """Return the rank's call: of the class's `_run`, or of an object that the class has prepared in its place."""
    prepared = job.folder.call(job.rank)
    if prepared.exists():
        called: Callable[[], object] = unpack_call(prepared.read_bytes(), descriptors).run
        return called
    pipe = Connection(descriptors[0]) if descriptors else None
    return lambda: test_class._run(job.rank, job.method, job.rendezvous_file, pipe, **job.run_arguments)


def _tell_pass(rank: int, channel: ChannelWriter) -> None:
    """Send a pass where a class's own `_run`, which knows of no channel, has run the body."""
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
    """Return the test class, from the module that the zygote has or that this process imports."""
    found: Any = import_module(job.module, job.module_file)
    for name in job.class_name.split("."):
        found = getattr(found, name)
    return found


def run_between_hooks(job: RankJob, channel: ChannelWriter, run: Callable[[], object]) -> None:
    """Run a rank's test between the hooks of the device in use. `run` raises where the test has not passed.

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
