"""Exit codes in words."""

import contextlib
import io
import signal
import subprocess
import sys
import unittest

from torch_testing_shim._shared.exit_status import ExitStatus as Status, describe_exit, exit_code_of, signal_name
from torch_testing_shim.common_utils import run_tests


class ExitStatus(unittest.TestCase):
    def test_codes_and_signals(self):
        self.assertEqual("exit status 0", describe_exit(0))
        self.assertEqual("exit status 3", describe_exit(3))
        self.assertEqual("SIGSEGV", describe_exit(-signal.SIGSEGV))

    def test_a_number_without_a_name(self):
        self.assertEqual("signal 99", signal_name(99))

    def test_the_code_of_an_exit_is_pythons(self):
        for code in (None, 0, 3, -1, 256, 342, True, 2**40, 2**70, -(2**70), 1.5, "text", (1, 2)):
            python = subprocess.run(
                [sys.executable, "-c", f"raise SystemExit({code!r})"], capture_output=True, text=True
            )
            with contextlib.redirect_stderr(io.StringIO()) as printed:
                self.assertEqual(python.returncode, exit_code_of(SystemExit(code)), code)
            if not isinstance(code, int):  # of one that is too large, Python 3.13 says something of its own
                self.assertEqual(python.stderr, printed.getvalue(), code)

    def test_the_code_of_an_enumeration(self):
        """`in range(...)` goes through all numbers for one, which took for ever in a warm interpreter."""
        self.assertEqual([2, 143], [exit_code_of(SystemExit(one)) for one in (Status.USAGE, Status.TERMINATED)])

    def test_a_text_that_cannot_be_shown(self):
        class Odd:
            def __str__(self):
                raise RuntimeError("cannot be shown")

        self.assertEqual(1, exit_code_of(SystemExit(Odd())))


if __name__ == "__main__":
    run_tests()
