"""Exit statuses of test files and of the runner, and exit codes in words. Standard library only."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from enum import IntEnum

#: The range of a C long; the exit code of a larger number is 255.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class ExitStatus(IntEnum):
    """The exit statuses of a test file and of the runner, as `run_test.py --help` documents them."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOTHING_RAN = 5
    HUNG_UP = 128 + signal.SIGHUP
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM
    #: The reader of the output has gone (`run_test.py | head`); the status that a shell gives such a program.
    OUTPUT_CLOSED = 128 + signal.SIGPIPE


def describe_exit(exit_code: int) -> str:
    """An exit code as `subprocess` gives it, in words: "exit status 3", "SIGKILL"."""
    return f"exit status {exit_code}" if exit_code >= 0 else signal_name(-exit_code)


def signal_name(number: int) -> str:
    """The name of a signal, "SIGKILL"; "signal 99" where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_code_of(request: SystemExit) -> int:
    """The exit code of a process that Python ends because of this exception, 0 to 255. As there, a `code` that is
    neither an int nor None is printed on stderr."""
    code = request.code
    if code is None:
        return 0
    if isinstance(code, int):
        # compared, since `in range` goes through all numbers for a subclass such as an IntEnum
        return int(code) & 0xFF if _SMALLEST <= code <= _LARGEST else 0xFF
    with suppress(Exception):  # it cannot be shown, or the test has closed its streams
        print(code, file=sys.stderr, flush=True)
    return 1
