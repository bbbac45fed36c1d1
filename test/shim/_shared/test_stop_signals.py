"""One interrupt that arrives twice, and a terminal that goes away, a real one: what is to be written is written."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from pathlib import Path

from torch_testing_shim._shared.stop_signals import ONE_SECONDS, StopSignals
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase
from usual_signals import take_usual_signals

SAMPLE = """
import time
from torch_testing_shim.common_utils import TestCase, run_tests

class HangTest(TestCase):
    def test_fails(self):
        self.fail("on purpose")
    def test_hangs(self):
        open("started", "w").close()
        time.sleep(300)

if __name__ == "__main__":
    run_tests()
"""


class StopSignalsTest(TestCase):
    def test_what_comes_at_once_is_one_and_what_comes_later_is_another(self) -> None:
        signals = StopSignals()
        taken = [signals.take(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)]
        self.assertEqual([False, False, False], taken)
        time.sleep(ONE_SECONDS)
        self.assertTrue(signals.take(signal.SIGINT))
        self.assertEqual(signal.SIGTERM, signals.first)


class LostTerminalTest(RunnerTestCase):
    def on_a_terminal_that_goes_away(self, *command: str) -> int:
        """Start a command on a terminal of its own, take the terminal away while the test hangs, and return the exit
        status."""
        self.write("test_hangs", SAMPLE)
        pid, terminal = pty.fork()
        if pid == 0:
            take_usual_signals()
            os.chdir(self.tree)
            os.execve(sys.executable, [sys.executable, *command], self.environment())
        try:
            self.wait_until((self.tree / "started").exists, "the test started")
        finally:
            os.close(terminal)  # the system sends SIGHUP
        deadline = time.monotonic() + RUN_TIMEOUT
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            self.assertLess(time.monotonic(), deadline, "it did not end")
            time.sleep(0.05)
        self.assertNothingLeft()
        return os.waitstatus_to_exitcode(ended[1])

    def test_a_test_file_writes_its_report(self) -> None:
        status = self.on_a_terminal_that_goes_away("test/test_hangs.py", "--save-xml", "report.xml")
        report = (self.tree / "report.xml").read_text()
        self.assertEqual(129, status)
        self.assertIn("on purpose", report)
        self.assertIn("in test_hangs", report)

    def test_the_runner_writes_its_reports(self) -> None:
        status = self.on_a_terminal_that_goes_away("run_test.py", "--report-html", "page.html", "--save-xml", "xml")
        self.assertEqual(129, status)
        for path in ((self.tree / "page.html"), *(self.tree / "xml").rglob("*.xml")):
            self.assertIn("on purpose", path.read_text())
            self.assertIn("in test_hangs", path.read_text())
        self.assertTrue(list((self.tree / "xml").rglob("*.xml")))


if __name__ == "__main__":
    run_tests()
