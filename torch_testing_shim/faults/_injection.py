"""`inject`: puts faults in place for a block, counts up to their points, and reports those that never fired."""

from __future__ import annotations

import functools
import threading
import unittest
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch.distributed as dist

from torch_testing_shim._engine.outcome import PeerFailedError, says_lost_peer
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim.faults._faults import Fault
from torch_testing_shim.faults._points import CallPoint, CommunicationPoint
from torch_testing_shim.faults._watching import watch_calls, watch_communication

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class FaultNeverFiredError(AssertionError):
    """The block has ended and the rank has not reached the point of its fault, so nothing was tested."""


@contextmanager
def inject(*faults: Fault, rank: int | None = None, must_fire: bool = True) -> Iterator[None]:
    """Context in which faults strike. Every rank enters it; each takes the faults for its own number.

    Each rank counts for itself, from the entry of the block, and each fault strikes once. Nothing is watched or
    replaced in a rank without a fault, nor in any rank after the block.

    Args:
        faults: made by `kill`, `exit_with`, `fail`, `hang` and `delay`. At one point, they strike in this order.
        rank: this process's rank. By default that in the default process group, or where there is none yet, RANK of
            the environment, which torchrun sets.
        must_fire: a fault that never fires is an error in its rank.

    Raises:
        FaultNeverFiredError: the block ended, and a fault for this rank had not fired. An exception that ended the
            block is its cause; it is raised itself where it is about a lost peer, a skip or a request to exit.
        ValueError: no rank is given and none can be found, or a fault's rank is not in the process group.
    """
    here = _this_rank() if rank is None else rank
    _check_ranks(faults, here)
    armed = [_Armed(fault) for fault in faults if fault.rank == here]
    entered: list[str] = []
    with ExitStack() as stack:
        _arm(armed, entered, stack)
        try:
            yield
        except (KeyboardInterrupt, SystemExit, unittest.SkipTest, PeerFailedError):
            raise
        except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
            if must_fire and not says_lost_peer(str(error)):
                _check_fired(armed, entered, error)
            raise
    if must_fire:
        _check_fired(armed, entered, None)


@contextmanager
def record_communication() -> Iterator[list[str]]:
    """Context that gives a list of the names of the collectives and transfers that this rank enters in it, in their
    order: what `collective(n)` and `transfer(n)` count."""
    names: list[str] = []
    with watch_communication(lambda name, is_transfer: names.append(name)):
        yield names


class _Armed:
    """A fault in its rank, and how often its point has been reached."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.reached = 0
        self.has_fired = False
        self._lock = threading.Lock()

    def reaches_its_point(self) -> bool:
        """Count once more; return whether this is the time."""
        with self._lock:
            self.reached += 1
            return self.reached == self.fault.at.nth

    def fire(self) -> None:
        self.has_fired = True
        self.fault.strike()


def _reach(faults: Sequence[_Armed]) -> None:
    """Count for all faults before one fires: its exception must not leave another uncounted."""
    for due in [one for one in faults if one.reaches_its_point()]:
        due.fire()


def _arm(armed: Sequence[_Armed], entered: list[str], stack: ExitStack) -> None:
    """Put the faults in place until the stack is left; `entered` fills with the names of collectives and transfers."""

    def on_communication(name: str, is_transfer: bool) -> None:
        entered.append(name)
        _reach([one for point, one in communicating if point.matches(name, is_transfer)])

    communicating = [(one.fault.at, one) for one in armed if isinstance(one.fault.at, CommunicationPoint)]
    if communicating:
        stack.enter_context(watch_communication(on_communication))
    calling: dict[CallPoint, list[_Armed]] = {}
    for one in armed:
        if isinstance(one.fault.at, CallPoint):
            calling.setdefault(replace(one.fault.at, nth=1), []).append(one)
    for point, faults in calling.items():
        stack.enter_context(watch_calls(point, functools.partial(_reach, faults)))


def _check_fired(armed: Sequence[_Armed], entered: Sequence[str], error: BaseException | None) -> None:
    for one in armed:
        if not one.has_fired:
            raise FaultNeverFiredError(f"never fired: {one.fault}; {_reached_text(one, entered)}") from error


def _reached_text(one: _Armed, entered: Sequence[str]) -> str:
    """Describe what happened instead: "it entered 2 broadcast, 1 barrier", "it came to 1"."""
    if isinstance(one.fault.at, CallPoint):
        return f"of these there were {one.reached}"
    counts = [f"{count} {name}" for name, count in Counter(entered).items()]
    return f"it entered {', '.join(counts) or 'nothing'}"


def _this_rank() -> int:
    if dist.is_initialized():
        return dist.get_rank()
    rank = read_settings().rank
    if rank is None:
        raise ValueError("inject cannot tell which rank this is: there is no process group; pass rank=self.rank")
    return rank


def _check_ranks(faults: Sequence[Fault], here: int) -> None:
    if here < 0:
        raise ValueError(f"rank {here} is no rank of a test: inject belongs into the ranks, not into the controller")
    if dist.is_initialized():
        for fault in faults:
            if fault.rank >= dist.get_world_size():
                raise ValueError(f"{fault}: there are only {dist.get_world_size()} ranks")
