"""A process that was asked where it stands prints its stacks, stuck or not; one that does not answer lives on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from torch_testing_shim._shared.stack_request import STACK_REQUEST
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT

#: Says that it is ready and is stuck for good in a call that Python does not come back from.
STUCK = """
import os, signal, sys, threading
from torch_testing_shim._shared.stack_request import STACK_REQUEST, answer_stack_requests

def gets_stuck():
    os.write(1, b"ready")
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
"""


class Requests(TestCase):
    def start(self, body: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", STUCK + body + "\ngets_stuck()\n"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(b"ready", process.stdout.read(5))
        return process

    def said(self, process: subprocess.Popen[bytes], last: str) -> str:
        """Its words on standard error once asked, to the line that holds `last`."""
        process.send_signal(STACK_REQUEST)
        lines = []
        for line in process.stderr:
            lines.append(line.decode())
            if last in lines[-1]:
                break
        return "".join(lines)

    def test_the_stacks_of_a_process_that_is_stuck(self) -> None:
        process = self.start("answer_stack_requests()")
        for _ in range(2):
            self.assertRegex(self.said(process, "<module>"), "most recent call first.*\n.*in gets_stuck\n.*in <module>")

    def test_they_go_where_standard_error_was(self) -> None:
        process = self.start("answer_stack_requests(); os.dup2(os.open(os.devnull, os.O_WRONLY), 2)")
        self.assertIn("in gets_stuck", self.said(process, "<module>"))

    def test_a_handler_of_its_own_stays(self) -> None:
        process = self.start(
            "signal.signal(STACK_REQUEST, lambda *_: os.write(2, b'mine\\n')); answer_stack_requests()\n"
            "os.write(1, b'ready'); signal.pause()"
        )
        self.assertEqual("mine\n", self.said(process, "mine"))

    def test_without_standard_error(self) -> None:
        process = self.start("sys.__stderr__ = None; answer_stack_requests()")
        process.send_signal(STACK_REQUEST)
        process.kill()
        self.assertEqual((b"", b""), process.communicate())

    def test_a_process_that_does_not_answer_lives_on(self) -> None:
        process = self.start("")
        os.kill(process.pid, STACK_REQUEST)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(0.2)


if __name__ == "__main__":
    run_tests()
