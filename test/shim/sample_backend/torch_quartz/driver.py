"""The device's driver, as far as it is felt by the process that it runs in. Pretended: there is no hardware.

By itself it leaves no trace, as a friendly device's would. With QUARTZ_LIKE_CUDA it is like CUDA's: it starts when it
is asked anything; it leaves a thread, a pipe, sockets and an open device node for good; and a process that is forked
afterwards cannot use the device. QUARTZ_LIKE_CUDA is the path of a file in which each process notes that the driver has
started in it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from contextlib import suppress

DEVICE_NODE = "/dev/fuse"


class Driver:
    """The driver in this process.

    Attributes:
        is_started: it runs here.
        is_in_use: the device has been used here, and not only asked for.
        is_lost: this process was forked from one that it ran in.
    """

    def __init__(self) -> None:
        self._notes = os.environ.get("QUARTZ_LIKE_CUDA")
        self.is_started = self.is_in_use = self.is_lost = False
        self._kept: list[int] = []

    def ask(self) -> None:
        """Start it, where it does not run yet.

        Raises:
            RuntimeError: it has run in the process that this one was forked from.
        """
        if self.is_lost:
            raise RuntimeError("the driver of quartz does not survive a fork: start the process anew")
        if self.is_started:
            return
        self.is_started = True
        if self._notes is not None:
            with open(self._notes, "a") as notes:
                notes.write(f"{os.getpid()}\n")
            self._kept = _open_things()
            _start_thread()
            os.register_at_fork(after_in_child=self._lose)

    def use(self) -> None:
        """Start it for more than a question; raise as `ask` does."""
        self.ask()
        self.is_in_use = True

    def _lose(self) -> None:
        self.is_started, self.is_in_use, self.is_lost = False, False, True


def _open_things() -> list[int]:
    """Descriptors, as native code has them; among them the device node of something that nearly every machine has."""
    opened = [*os.pipe(), *(end.detach() for end in socket.socketpair())]
    with suppress(OSError):
        opened.append(os.open(DEVICE_NODE, os.O_RDWR))
    return opened


def _start_thread() -> None:
    """Start a thread of the C library's that waits for good, and that gets no signal, as Python knows nothing of
    it."""
    library = ctypes.CDLL(None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    library.pthread_create(ctypes.byref(ctypes.c_ulong()), None, library.pause, None)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


#: The driver in this process.
DRIVER = Driver()
