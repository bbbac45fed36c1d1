"""Which processes of a run may not start any more: the user has stopped it, its time is up, or a file has failed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..cli.options import Options
from .file_life import FileLife
from .retry import RunKind, RunOrder

__all__ = ["StartRules"]


class StartRules:
    """The rules of one run, which begins now.

    Args:
        options: the deadline, and whether the run goes on after a failure.
        seconds: how long each file is expected to take, by name.

    Attributes:
        has_failed: a file of the run has failed.
        is_late: a file was not started because it would have ended after the deadline.
    """

    def __init__(self, options: Options, seconds: Mapping[str, float]) -> None:
        self.has_failed = False
        self.is_late = False
        self._options = options
        self._seconds = seconds
        self._began = time.monotonic()

    def forbid(self, order: RunOrder, file: FileLife, *, is_stopped: bool) -> bool:
        """True where the end of the run has come for an order.

        The rest of a file that has started is no new file, so that no test of it is lost; but a file is not repeated
        then, nor a test run again.

        Args:
            order: the process that waits.
            file: the file that it is of.
            is_stopped: the user wants the run to stop.
        """
        if is_stopped:
            return True
        is_new = not file.has_started or (order.number > 1 and order.kind is not RunKind.AGAIN and file.is_waiting)
        if self._is_too_late(file) and (is_new or order.kind is RunKind.AGAIN):
            self.is_late = self.is_late or not file.has_started
            return True
        return is_new and self.has_failed and not self._options.keep_going

    def _is_too_late(self, file: FileLife) -> bool:
        if self._options.deadline is None:
            return False
        needed = 0.0 if file.has_started else self._seconds.get(file.selection.name, 0.0)
        return time.monotonic() - self._began + needed > self._options.deadline
