"""Signals that stop a run, in a test file's process: the first one ends the run with a report, the second one at once.

All arrive as `KeyboardInterrupt`, since unittest and pytest let nothing else through. What a signal cuts short may
have left ranks or scratch folders behind; `end_what_is_left` ends and removes them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.leftovers import children_of_this_process
from torch_testing_shim._shared.owned_folders import remove_own_folders
from torch_testing_shim._shared.stop_signals import STOP_SIGNALS, StopSignals

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """The status that a shell gives a process ended by the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT)


def end_what_is_left() -> None:
    """End the ranks that still run and remove the scratch folders that are still there."""
    STARTER.close()
    remove_own_folders()


def without_the_handler(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without its last frame, where that is the harness's: the signal's handler."""
    frame = traceback
    while frame is not None and frame.tb_next is not None:
        if frame.tb_next.tb_next is None and "__unittest" in frame.tb_next.tb_frame.f_globals:
            frame.tb_next = None
        else:
            frame = frame.tb_next
    return traceback


class Interrupts:
    """Takes the signals while it is entered as a context, unless the test file has handlers of its own or they are
    ignored, as they are under nohup."""

    def __init__(self) -> None:
        self._signals = StopSignals()
        self._pid = os.getpid()
        self._replaced: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        for number in STOP_SIGNALS:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            if signal.getsignal(number) == usual:
                self._replaced[number] = signal.signal(number, self._take)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork)
        return self

    def __exit__(self, *_: object) -> None:
        for number, usual in self._replaced.items():
            signal.signal(number, usual)  # type: ignore[arg-type]
        self._replaced.clear()

    def ignore(self) -> None:
        """Ignore further signals: little is left to do, and another one would cut it short."""
        for number in self._replaced:
            signal.signal(number, signal.SIG_IGN)
        self._replaced.clear()

    def swallowed(self) -> KeyboardInterrupt | None:
        """The first signal as an interrupt, for a test that has caught it and gone on; None where none came."""
        number = self._signals.first
        if number is None:
            return None
        interrupt = KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
        interrupt.args = (f"the test caught {number.name} and went on",)
        return interrupt

    def _before_fork(self) -> None:
        """Restore the usual handlers, with which a child starts. Python forgets a signal that a child gets before its
        first step: a SIGTERM with a handler would be lost there, and its sender would wait for ever."""
        if self._can_replace():
            for number, usual in self._replaced.items():
                signal.signal(number, usual)  # type: ignore[arg-type]

    def _after_fork(self) -> None:
        if self._can_replace():
            for number in self._replaced:
                signal.signal(number, self._take)

    def _can_replace(self) -> bool:
        """Whether this is the main thread, as Python lets no other set handlers. For what another thread forks there is
        `_take_in_a_fork`."""
        return os.getpid() == self._pid and threading.current_thread() is threading.main_thread()

    def _take(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            self._take_in_a_fork(number)
            return
        is_first = self._signals.first is None
        if self._signals.take(number):
            self._end_at_once(128 + int(self._signals.first or number))
        if is_first:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    def _take_in_a_fork(self, number: int) -> None:
        """A process that a test has forked takes signals as any other does."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _end_at_once(self, status: int) -> NoReturn:
        self.ignore()
        with suppress(Exception):  # the line that was cut short may hold the stream
            print("interrupted again: ended at once", file=sys.stderr, flush=True)
        STARTER.abandon()
        for child in children_of_this_process():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        remove_own_folders()
        os._exit(status)
