"""Exit codes in words."""

import signal
import unittest

from torch_testing_shim._exit_status import describe_exit, signal_name
from torch_testing_shim.common_utils import run_tests


class ExitStatus(unittest.TestCase):
    def test_codes_and_signals(self):
        self.assertEqual("exit status 0", describe_exit(0))
        self.assertEqual("exit status 3", describe_exit(3))
        self.assertEqual("SIGSEGV", describe_exit(-signal.SIGSEGV))

    def test_a_number_without_a_name(self):
        self.assertEqual("signal 99", signal_name(99))


if __name__ == "__main__":
    run_tests()
