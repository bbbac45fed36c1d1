"""Ctrl-C and SIGTERM, sent for real: the first leaves a mark, the second ends the run at once."""

from __future__ import annotations

import os
import signal

from torch_testing_shim._runner.stop import StopNow, StopRequest
from torch_testing_shim.common_utils import TestCase, run_tests


def send(number: signal.Signals) -> None:
    """Sends a signal to this process; Python runs its handler before this returns."""
    os.kill(os.getpid(), number)


class StopTest(TestCase):
    def test_nothing_is_asked_for_at_first(self) -> None:
        with StopRequest() as stop:
            self.assertIsNone(stop.signal)

    def test_the_first_signal_leaves_a_mark(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with StopRequest() as stop:
                send(number)
                self.assertEqual(number, stop.signal)

    def test_the_second_signal_ends_the_run_and_the_first_one_counts(self) -> None:
        with StopRequest() as stop:
            send(signal.SIGTERM)
            with self.assertRaises(StopNow):
                send(signal.SIGINT)
            self.assertEqual(signal.SIGTERM, stop.signal)

    def test_a_third_signal_does_not_hold_up_the_cleaning(self) -> None:
        with StopRequest():
            send(signal.SIGINT)
            with self.assertRaises(StopNow):
                send(signal.SIGINT)
            send(signal.SIGINT)
            send(signal.SIGTERM)

    def test_the_handlers_from_before_are_put_back(self) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with StopRequest():
            pass
        self.assertEqual(before, [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])


if __name__ == "__main__":
    run_tests()
