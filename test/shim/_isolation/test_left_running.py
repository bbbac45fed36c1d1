"""Whatever a test has left running in its rank is ended: real processes and threads, in a forked process."""

import os
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import resource_tracker
from pathlib import Path

from torch_testing_shim._engine.leftovers import children_of_this_process, command_of
from torch_testing_shim._isolation.left_running import LeftRunning
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import forked

GRANDCHILD = "import subprocess; print(subprocess.Popen(['sleep', '3600'], stdout=subprocess.DEVNULL).pid)"


def is_there(pid):
    """Return whether a process runs."""
    return bool(command_of(pid))


def leave_processes():
    warnings.simplefilter("ignore", ResourceWarning)  # of those that still run in the end
    kept = subprocess.Popen(["sleep", "3600"])
    resource_tracker.ensure_running()
    running = LeftRunning.now()
    left = subprocess.Popen(["sleep", "3600"])
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    orphan = int(subprocess.run([sys.executable, "-c", GRANDCHILD], stdout=subprocess.PIPE).stdout)
    running.end()
    time.sleep(0.05)  # init reaps the orphan
    children = sorted(children_of_this_process())
    tracker = resource_tracker._resource_tracker._pid
    found = [is_there(pid) for pid in (kept.pid, tracker, left.pid, orphan)], children == sorted([kept.pid, tracker])
    for pid in (kept.pid, tracker):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return found


def leave_threads():
    running = LeftRunning.now()
    threading.Thread(target=time.sleep, args=(0.02,)).start()
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    started = time.monotonic()
    running.end()
    return threading.active_count(), time.monotonic() - started < 5.0


class End(TestCase):
    def test_ends_processes_of_the_test_alone(self):
        self.assertEqual([[True, True, False, False], True], forked(leave_processes))

    def test_waits_for_threads_a_moment(self):
        self.assertEqual([2, True], forked(leave_threads))


if __name__ == "__main__":
    run_tests()
