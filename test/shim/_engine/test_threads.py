"""Which threads hinder a fork: real threads, of Python's and of the C library's."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.threads import fork_quietly
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT

#: One thread beside the main one: of Python's, of the C library's, or one that its library ends before a fork.
COUNT = """
import ctypes, os, threading
from torch_testing_shim._engine.threads import lasting_thread_count, thread_count
C = ctypes.CDLL(None)

def of_python():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def of_c():
    C.pthread_create(ctypes.byref(ctypes.c_ulong()), None, C.pause, None)

def of_openblas():
    import numpy
    numpy.ones((300, 300)) @ numpy.ones((300, 300))

for start in (of_openblas, of_c, of_python):
    start()
    print(start.__name__, thread_count() > 1, lasting_thread_count())
"""


class Counting(TestCase):
    def test_threads_that_live_on_across_a_fork(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "8"}
        command = [sys.executable, "-W", "error", "-c", COUNT]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual("of_openblas True 1\nof_c True 2\nof_python True 3\n", run.stdout)
        self.assertEqual("", run.stderr)


class ForkQuietly(TestCase):
    def test_pythons_warning_is_left_out_and_no_other(self):
        def fork():
            warnings.warn("This process (pid=7) is multi-threaded, use of fork() may ...", DeprecationWarning, 2)
            return os.getpid()

        with mock.patch("os.fork", fork), warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(os.getpid(), fork_quietly())
            with self.assertRaises(DeprecationWarning):  # the filters are as before, in parent and child
                fork()


if __name__ == "__main__":
    run_tests()
