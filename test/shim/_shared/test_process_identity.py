"""A stamp names one process: real processes that live, have ended, or only have the same id."""

import os
import signal
import subprocess
import sys

from torch_testing_shim._shared.process_identity import is_surely_dead, own_stamp
from torch_testing_shim.common_utils import TestCase, run_tests

STAMP = "import time; from torch_testing_shim._shared.process_identity import own_stamp; print(own_stamp(), flush=True)"


class Owner(TestCase):
    def start(self) -> tuple[subprocess.Popen, str]:
        """A living process and its stamp."""
        process = subprocess.Popen(
            [sys.executable, "-c", STAMP + "; time.sleep(3600)"], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process, process.stdout.readline().strip()

    def test_this_process_lives(self):
        self.assertIn(f" of {os.getpid()} started at ", own_stamp())
        self.assertFalse(is_surely_dead(own_stamp()))

    def test_dead_from_its_end_on_also_while_nobody_has_reaped_it(self):
        process, stamp = self.start()
        self.assertFalse(is_surely_dead(stamp))
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.assertTrue(is_surely_dead(stamp))
        process.wait()
        self.assertTrue(is_surely_dead(stamp))

    def test_an_id_that_is_used_again_is_another_process(self):
        _, stamp = self.start()
        text, _, started = stamp.rpartition(" ")
        self.assertTrue(is_surely_dead(f"{text} {int(started) - 1}"))

    def test_a_fork_has_a_stamp_of_its_own(self):
        read_end, write_end = os.pipe()
        ours = own_stamp()
        pid = os.fork()
        if pid == 0:
            os.write(write_end, own_stamp().encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as stream:
            theirs = stream.read()
        os.waitpid(pid, 0)
        self.assertIn(f" of {pid} started at ", theirs)
        self.assertNotEqual(ours, theirs)

    def test_never_sure_in_doubt(self):
        stamp = own_stamp()
        place = stamp.partition(" of ")[0]
        dead = f"{place} of {2**22 + 1} started at 5"  # Linux gives no id that high
        self.assertTrue(is_surely_dead(dead))
        elsewhere = dead.replace(dead[:8], "00000000", 1)
        for text in ("", "x", elsewhere, dead.replace(" of ", " "), f"{dead}x", f"{place} of -1 started at 5"):
            self.assertFalse(is_surely_dead(text), text)


if __name__ == "__main__":
    run_tests()
