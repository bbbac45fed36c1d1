"""Interrupts while ranks run: the report says where they stood, as it does at the deadline."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from torch_testing_shim._engine.failure_text import failure_report
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.verdict import verdict
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._shared.stop_signals import StopSignals


def with_report(interrupt: KeyboardInterrupt, outcomes: Sequence[RankOutcome]) -> KeyboardInterrupt:
    """Make the report over all ranks the interrupt's message, whoever prints it: unittest, pytest or Python. There is
    one outcome per rank, `INTERRUPTED` for those that still ran."""
    found = verdict(outcomes)
    if found.headline:
        interrupt.args = (failure_report(found, outcomes, full_traceback=read_settings().full_traceback),)
    return interrupt.with_traceback(None)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Keep the block, which reports an interrupt, from being cut short by the same interrupt where it arrives twice.
    Only needed where Ctrl-C is left to Python, as pytest and `python -m unittest` leave it."""
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    signals = StopSignals()
    signals.take(signal.SIGINT)

    def take(number: int, frame: FrameType | None) -> None:
        if signals.take(number):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, take)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
