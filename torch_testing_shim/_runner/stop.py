"""Ctrl-C and SIGTERM: the first one asks the run to stop, the second one ends it at once.

The first signal only leaves a mark, which the run looks at many times a second: an exception thrown into whatever line
happens to run could leave a process or a folder behind.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

__all__ = ["StopNow", "StopRequest"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopNow(BaseException):
    """The user asked a second time; no `except Exception` may hold this up."""


class StopRequest:
    """Takes the signals that ask to stop while it is entered as a context.

    Attributes:
        signal: the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            for again in STOP_SIGNALS:  # a third one must not hold up what StopNow cleans away
                signal.signal(again, signal.SIG_IGN)
            raise StopNow
        self.signal = signal.Signals(number)
