"""The frozen `Fault`: which rank, at which point, and what happens to it there."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from dataclasses import dataclass

from torch_testing_shim.faults._points import Point

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: A rank that hangs sleeps in steps of this many seconds; nothing ends it from inside.
_SLEEP_SECONDS = 3600.0


class InjectedFaultError(RuntimeError):
    """The error that `fail` raises where the test has not chosen one."""


@dataclass(frozen=True)
class Kill:
    """The process ends by SIGKILL, as the kernel ends it when memory is short: nothing is flushed, nothing caught."""

    def on(self, rank: int) -> str:
        return f"kill rank {rank}"

    def strike(self, told: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Exit:
    """The process ends at once by `os._exit`."""

    code: int

    def on(self, rank: int) -> str:
        return f"end rank {rank} with exit code {self.code}"

    def strike(self, told: str) -> None:
        os._exit(self.code)


@dataclass(frozen=True)
class Fail:
    """The call raises."""

    error: BaseException | None

    def on(self, rank: int) -> str:
        return f"fail rank {rank}{'' if self.error is None else f' with {self.error!r}'}"

    def strike(self, told: str) -> None:
        raise InjectedFaultError(told) if self.error is None else self.error


@dataclass(frozen=True)
class Hang:
    """The call never goes on."""

    def on(self, rank: int) -> str:
        return f"hang rank {rank}"

    def strike(self, told: str) -> None:
        while True:
            time.sleep(_SLEEP_SECONDS)


@dataclass(frozen=True)
class Delay:
    """The call goes on after some seconds."""

    seconds: float

    def on(self, rank: int) -> str:
        return f"delay rank {rank} by {self.seconds:g} s"

    def strike(self, told: str) -> None:
        time.sleep(self.seconds)


@dataclass(frozen=True)
class Fault:
    """One fault: made by `kill`, `exit_with`, `fail`, `hang` or `delay`, and put in place by `inject`.

    Attributes:
        rank: the rank that it strikes, in the default process group.
        at: where it strikes.
        effect: what happens there.
    """

    rank: int
    at: Point
    effect: Kill | Exit | Fail | Hang | Delay

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 0:
            raise ValueError(f"rank must be an int from 0, not {self.rank!r}")

    def __str__(self) -> str:
        return f"{self.effect.on(self.rank)} at {self.at}"

    def strike(self) -> None:
        """Make it happen now, and say so on stderr, so that a report shows an injected death."""
        print(f"injected fault: {self}", file=sys.stderr, flush=True)
        self.effect.strike(str(self))


def kill(*, rank: int, at: Point) -> Fault:
    """Make a fault that ends the rank by SIGKILL; `rank` is in the default process group, `at` for example
    `collective(5)`.

    Raises:
        ValueError: rank is not an int from 0.
    """
    return Fault(rank, at, Kill())


def exit_with(code: int, *, rank: int, at: Point) -> Fault:
    """Make a fault that ends the rank's process at once with an exit code, by `os._exit`; otherwise as `kill`.

    Raises:
        ValueError: the code is not one that a process can end with, 0 to 255.
    """
    if not isinstance(code, int) or not 0 <= code <= 255:
        raise ValueError(f"an exit code is an int from 0 to 255, not {code!r}")
    return Fault(rank, at, Exit(code))


def fail(*, rank: int, at: Point, error: BaseException | None = None) -> Fault:
    """Make a fault that raises an error in the rank in place of the call; otherwise as `kill`. The error is
    `OSError(errno.ENOSPC, "No space left on device")` for example; by default an `InjectedFaultError` that says which
    fault this is."""
    return Fault(rank, at, Fail(error))


def hang(*, rank: int, at: Point) -> Fault:
    """Make a fault that stops the rank for good, until its test is ended; otherwise as `kill`."""
    return Fault(rank, at, Hang())


def delay(seconds: float, *, rank: int, at: Point) -> Fault:
    """Make a fault that stops the rank for some seconds; otherwise as `kill`.

    Raises:
        ValueError: seconds is not a number from 0.
    """
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a delay is a number of seconds from 0, not {seconds!r}")
    return Fault(rank, at, Delay(seconds))
