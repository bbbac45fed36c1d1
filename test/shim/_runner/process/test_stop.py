"""Signals that stop a run, sent for real: the first leaves a mark, the second ends the run at once."""

from __future__ import annotations

import os
import signal
import time

from torch_testing_shim._runner.process.stop import StopNow, StopRequest
from torch_testing_shim._shared.stop_signals import ONE_SECONDS, STOP_SIGNALS
from torch_testing_shim.common_utils import TestCase, run_tests


def send(number: signal.Signals, pause: float = 0.0) -> None:
    """Send a signal to this process, after a pause; Python runs its handler before this returns."""
    time.sleep(pause)
    os.kill(os.getpid(), number)


class StopTest(TestCase):
    def test_nothing_is_asked_for_at_first(self) -> None:
        with StopRequest() as stop:
            self.assertIsNone(stop.signal)

    def test_the_first_signal_leaves_a_mark(self) -> None:
        for number in STOP_SIGNALS:
            self.addCleanup(
                signal.signal, number, signal.signal(number, signal.SIG_DFL)
            )  # the suite may run under nohup
            with StopRequest() as stop:
                send(number)
                self.assertEqual(number, stop.signal)

    def test_the_second_signal_ends_the_run_and_the_first_one_counts(self) -> None:
        with StopRequest() as stop:
            send(signal.SIGTERM)
            send(signal.SIGINT)  # at once: it is the same wish
            with self.assertRaises(StopNow):
                send(signal.SIGINT, ONE_SECONDS)
            self.assertEqual(signal.SIGTERM, stop.signal)

    def test_a_third_signal_does_not_hold_up_the_cleaning(self) -> None:
        with StopRequest():
            send(signal.SIGINT)
            with self.assertRaises(StopNow):
                send(signal.SIGINT, ONE_SECONDS)
            send(signal.SIGINT, ONE_SECONDS)
            send(signal.SIGTERM)

    def test_the_handlers_from_before_are_put_back(self) -> None:
        before = [signal.getsignal(number) for number in STOP_SIGNALS]
        with StopRequest():
            pass
        self.assertEqual(before, [signal.getsignal(number) for number in STOP_SIGNALS])

    def test_a_hang_up_that_is_ignored_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        with StopRequest() as stop:
            send(signal.SIGHUP)
            self.assertIsNone(stop.signal)
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGHUP))


if __name__ == "__main__":
    run_tests()
