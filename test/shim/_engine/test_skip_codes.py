"""What means "skipped": exit codes, and what unittest and pytest raise, in ranks of every kind."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

from torch_testing_shim._engine.skip_codes import skip_message, skip_reason_of
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

SAMPLE = """
import pytest
from torch_testing_shim.common_distributed import (
    MultiProcContinuousTest, MultiThreadedTestCase, spawn_threads_and_init_comms
)

class Ends:
    world_size = 2

    def test_import(self):
        pytest.importorskip("nonexistent_module")

    def test_skip(self):
        pytest.skip("not here")

    def test_subtest(self):
        for i in range(2):
            with self.subTest(i=i):
                if i == 0:
                    pytest.skip("not this one")
                self.fail("no")

    def test_xfail(self):
        pytest.xfail("known")

    def test_fail(self):
        pytest.fail("on purpose")

    def test_one_skips(self):
        if self.rank == 1:
            pytest.skip("not for me")

class Processes(Ends, MultiProcessTestCase):
    def setUp(self):
        super().setUp()
        self._spawn_processes()

class Kept(Ends, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

class Threads(Ends, MultiThreadedTestCase):
    def setUp(self):
        super().setUp()
        self._spawn_threads()

class SkipsTheStart(Kept):
    @classmethod
    def _init_pg(cls, rank, world_size, rdvz_file):
        pytest.skip("no group here")

class Here(TestCase):
    test_import, test_skip, test_xfail = Ends.test_import, Ends.test_skip, Ends.test_xfail

    @spawn_threads_and_init_comms(world_size=2)
    def test_threads(self):
        pytest.skip("not here")
"""
KINDS = ("Processes", "Kept", "Threads")


class PytestsOutcomes(SampleTestCase):
    def test_by_file(self):
        run = self.run_sample(SAMPLE)
        for kind in (*KINDS, "Here"):
            self.assert_status(run, f"{kind}.test_import", TestStatus.SKIPPED, "could not import 'nonexistent_module'")
            self.assert_status(run, f"{kind}.test_skip", TestStatus.SKIPPED, "^not here$")
            self.assert_status(run, f"{kind}.test_xfail", TestStatus.SKIPPED, "^xfail: known$")
        for kind in KINDS:
            self.assert_status(
                run, f"{kind}.test_subtest", TestStatus.FAILED, r"in subtest \(i=1\): AssertionError: no"
            )
            self.assert_status(run, f"{kind}.test_fail", TestStatus.FAILED, "Failed: on purpose")
            self.assert_status(
                run, f"{kind}.test_one_skips", TestStatus.ERROR, r"rank 1 skipped \(not for me\), rank 0"
            )
        self.assert_status(run, "Here.test_threads", TestStatus.SKIPPED, "^not here$")
        self.assert_status(run, "SkipsTheStart.test_skip", TestStatus.SKIPPED, "^no group here$")

    def test_spawned_ranks(self):
        run = self.run_sample(SAMPLE, "Processes.test_skip", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, "Processes.test_skip", TestStatus.SKIPPED, "^not here$")

    def test_under_pytest(self):
        path = str(self.write_sample(SAMPLE))
        run = self.run_command("-m", "pytest", "-q", "-rsxf", "-p", "no:cacheprovider", path, "-k", "not SkipsTheStart")
        self.assertEqual(
            "9 failed, 9 skipped, 6 deselected, 4 xfailed", re.search(r"\d+ failed.*xfailed", run.output)[0]
        )
        self.assertRegex(run.output, "XFAIL .*Processes::test_xfail - known")


class Skips(TestCase):
    def test_only_an_int_is_a_code(self):
        self.assertEqual("skipped inside a rank", skip_message(86))
        for code in (86.0, "86", None, 90, 2**40):
            self.assertIsNone(skip_message(code), code)

    def test_other_exceptions_are_no_skips(self):
        self.assertEqual("why", skip_reason_of(unittest.SkipTest("why")))
        for error in (ValueError("no"), AssertionError(), SystemExit(86), type("Skipped", (Exception,), {})("no")):
            self.assertIsNone(skip_reason_of(error))

    def test_pytest_is_not_imported(self):
        script = (
            "import sys; from torch_testing_shim._engine.skip_codes import skip_reason_of; "
            "skip_reason_of(ValueError()); print('_pytest' in sys.modules)"
        )
        found = subprocess.run([sys.executable, "-c", script], capture_output=True)
        self.assertEqual(b"False\n", found.stdout)


if __name__ == "__main__":
    run_tests()
