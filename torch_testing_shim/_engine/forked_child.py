"""Ends a process that a test forks from its own where it would leave the test's code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from torch_testing_shim._shared.exit_status import exit_code_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@contextmanager
def ends_forked_children() -> Iterator[None]:
    """Ends a process that the block forks and that leaves the block, as Python ends one at the end of its script. Only
    the process that entered the block runs the code after it, above all the clean-up."""
    pid = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            _end(error)
        raise
    if os.getpid() != pid:
        _end(None)


def _end(error: BaseException | None) -> NoReturn:
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = exit_code_of(error)
    elif error is not None:
        with suppress(Exception):  # the test has closed or replaced its streams
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
