"""The surroundings of a test's body in a joined process."""

from __future__ import annotations

import gc
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist

from torch_testing_shim._engine.collective_log import start_logging
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._shared.settings import changed_environment

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS)


def leave_groups(*, has_failed: bool) -> None:
    """Leave the process groups that a body has left, so that those who wait in them learn of it."""
    if dist.is_initialized():
        dist.destroy_process_group()
    dist.distributed_c10d._world.group_count = 0  # one that could not be made is counted, on this rank alone
    if has_failed:
        gc.collect()  # an exception may hold a group's connections


class Limits:
    """The limits of resources that this process has now."""

    def __init__(self) -> None:
        self._limits = [(number, resource.getrlimit(number)) for number in _LIMITS]

    def put_back(self) -> bool:
        """Put them back where a body has changed them: before all else, which they may forbid. Return whether they
        are as they were."""
        for number, limit in self._limits:
            if resource.getrlimit(number) != limit:
                with suppress(OSError, ValueError):  # a hard limit, which root alone may raise, and not everywhere
                    resource.setrlimit(number, limit)
        return all(resource.getrlimit(number) == limit for number, limit in self._limits)


@contextmanager
def rank_surroundings(job: RankJob) -> Iterator[None]:
    """Let the body run in a rank's surroundings: output in a file, a temporary folder of its own, a log of its
    collectives."""
    start_logging(job.folder.collectives(job.rank))
    DRIVER.may_start = True
    temporary, folder = str(job.folder.temporary), tempfile.tempdir
    tempfile.tempdir = temporary
    try:
        with changed_environment({"TMPDIR": temporary}), _output_in(str(job.folder.output(job.rank))):
            yield
    finally:
        tempfile.tempdir = folder


@contextmanager
def _output_in(path: str) -> Iterator[None]:
    """Send descriptors 1 and 2 to a file, as C++ prints there, too."""
    _flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, _ in kept:
        os.dup2(file, number)
    os.close(file)
    try:
        yield
    finally:
        _flush()
        for number, was in kept:
            with suppress(OSError):  # the body has forbidden itself descriptors, for good: the process leaves
                os.dup2(was, number)
            os.close(was)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
