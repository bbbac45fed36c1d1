"""Calls the hooks of a device's package in each rank before and after its test (see `backend_records`)."""

from __future__ import annotations

import sys
import traceback
import unittest
from collections.abc import Callable

from torch_testing_shim._engine.backend_records import FoundBackend, backend_record
from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.skip_codes import skip_message

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class BackendHookError(RuntimeError):
    """A hook of a backend record raised; the message names the hook, the device and the package."""


def run_between_hooks(job: RankJob, channel: ChannelWriter, run: Callable[[], object]) -> None:
    """Runs a rank's test between the hooks of the device in use.

    Args:
        job: the rank's.
        channel: the rank's channel, by which the test tells how it ended.
        run: runs the test, and raises where it has not passed.

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
    is_skip_code = isinstance(end, SystemExit) and isinstance(end.code, int) and skip_message(end.code) is not None
    return is_skip_code or isinstance(end, unittest.SkipTest)
