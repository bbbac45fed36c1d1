"""Standard output and error where several processes run alike: one of them speaks, the others are silent."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class Voice:
    """The two streams as they are now, which whoever silences or captures them later cannot take away."""

    def __init__(self) -> None:
        self._kept = [(number, os.dup(number)) for number in (1, 2)]

    def fall_silent(self) -> None:
        """Send what is printed nowhere."""
        null = os.open(os.devnull, os.O_WRONLY)
        for number, _ in self._kept:
            os.dup2(null, number)
        os.close(null)

    def speak(self) -> None:
        """Print again, at what comes before the end of this process."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        while self._kept:
            number, kept = self._kept.pop()
            os.dup2(kept, number)
            os.close(kept)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not pytest's
