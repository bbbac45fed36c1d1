"""Ask a test file's process from outside where it stands: on a signal it prints the Python stacks of all its threads.

It answers while it is stuck in C code too, and `kill -URG PID` asks by hand. Standard library only: the runner asks.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

#: A process that does not answer ignores it.
STACK_REQUEST = signal.SIGURG


def answer_stack_requests() -> None:
    """Have this process print its stacks, when it is asked, to what is its standard error now, whatever becomes of
    `sys.stderr`; unless it has a handler of its own for the signal, or no standard error."""
    if signal.getsignal(STACK_REQUEST) != signal.SIG_DFL or sys.__stderr__ is None:
        return
    descriptor = os.dup(sys.__stderr__.fileno())  # for good, as faulthandler needs it: pytest puts files in 2's place
    faulthandler.register(STACK_REQUEST, descriptor, all_threads=True)
