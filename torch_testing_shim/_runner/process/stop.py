"""Ctrl-C, SIGTERM and SIGHUP: the first one asks the run to stop, the second one ends it at once.

The first signal only leaves a mark, which the run looks at many times a second: an exception thrown into whatever line
happens to run could leave a process or a folder behind.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from torch_testing_shim._shared.stop_signals import STOP_SIGNALS, StopSignals


class StopNow(BaseException):
    """The user asked a second time; no `except Exception` may hold this up."""


class StopRequest:
    """Takes the signals that ask to stop while it is entered as a context; SIGHUP not where it is ignored, as nohup
    has it."""

    def __init__(self) -> None:
        self._signals = StopSignals()
        self._previous: dict[signal.Signals, object] = {}

    @property
    def signal(self) -> signal.Signals | None:
        """The first signal that came, or None."""
        return self._signals.first

    def __enter__(self) -> StopRequest:
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._signals.take(number):
            for again in STOP_SIGNALS:  # a third one must not hold up what StopNow cleans away
                signal.signal(again, signal.SIG_IGN)
            raise StopNow
