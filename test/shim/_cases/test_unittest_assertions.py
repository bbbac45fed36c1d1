"""The assertions of unittest that upstream's `TestCase` changes."""

import logging
import sys
import unittest
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

IN_A_RANK = """
    class Lenient(Spawning):
        _ignore_not_implemented_error = True
        def test_not_there(self):
            raise NotImplementedError("no such operator")
"""


class Lenient(TestCase):
    """Where an operator that the device does not have is no failure."""

    _ignore_not_implemented_error = True

    def not_there(self) -> None:
        raise NotImplementedError("no such operator")

    def not_there_and_expected_to_fail(self) -> None:
        with self.assertRaises(RuntimeError):
            self.not_there()

    def not_there_and_expected_to_say_so(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "no such"):
            self.not_there()

    def fails(self) -> None:
        self.assertRaises(KeyError, dict)


class Foreign(TestCase):
    """On a device that words its messages otherwise."""

    device_type = "quartz"

    def runTest(self) -> None:
        with self.assertRaisesRegex(KeyError, "what torch says"):
            raise KeyError("what its package says")


class LogsTest(TestCase):
    def test_torchs_logger(self) -> None:
        with self.assertLogs() as seen:
            logging.getLogger("torch.some.part").warning("heard")
        self.assertEqual(["heard"], [record.getMessage() for record in seen.records])
        with self.assertNoLogs():
            logging.getLogger("another").warning("not torch's")
        with self.assertLogs("another"):
            logging.getLogger("another").warning("asked for")


class ExceptionsTest(SampleTestCase):
    def result_of(self, case: Any) -> unittest.TestResult:
        result = unittest.TestResult()
        case.run(result)
        return result

    def test_what_is_not_implemented_is_skipped(self) -> None:
        for name in ("not_there", "not_there_and_expected_to_fail", "not_there_and_expected_to_say_so"):
            result = self.result_of(Lenient(name))
            self.assertIn("no such operator", result.skipped[0][1])
            self.assertTrue(result.wasSuccessful())

    def test_what_fails_fails(self) -> None:
        self.assertEqual(len(self.result_of(Lenient("fails")).failures), 1)

    def test_in_a_rank(self) -> None:
        run = self.run_sample(IN_A_RANK)
        self.assert_status(run, "Lenient.test_not_there", TestStatus.SKIPPED, "no such operator")

    def test_any_message_of_a_foreign_device_will_do(self) -> None:
        self.assertTrue(self.result_of(Foreign()).wasSuccessful())


if __name__ == "__main__":
    run_tests()
