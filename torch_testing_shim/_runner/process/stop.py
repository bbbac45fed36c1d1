"""Ctrl-C, SIGTERM and SIGHUP: the first one asks the run to stop, the second one ends it at once.

The first signal only leaves a mark, which the run looks at many times a second: an exception raised at any line could
leave a process or a folder behind.
"""

from __future__ import annotations

import signal
from types import FrameType

from torch_testing_shim._shared.stop_signals import STOP_SIGNALS, StopSignals


class StopNow(BaseException):
    """The user asked a second time. It is a `BaseException`, so that no `except Exception` holds it up."""


class StopRequest:
    """A context that takes the signals that ask to stop; not SIGHUP where it is ignored, as under nohup."""

    def __init__(self) -> None:
        self._signals = StopSignals()
        self._previous: dict[signal.Signals, object] = {}

    @property
    def signal(self) -> signal.Signals | None:
        """The first signal, or None."""
        return self._signals.first

    def __enter__(self) -> StopRequest:
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._signals.take(number):
            for again in STOP_SIGNALS:  # a third one must not hold up the clean-up after StopNow
                signal.signal(again, signal.SIG_IGN)
            raise StopNow
