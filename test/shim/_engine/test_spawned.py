"""Spawned ranks are like the test process: its arguments, folder and environment as they are now, its main module."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: Runs its tests without asking for its __name__, as old test files do, and has changed what a rank might see.
SAMPLE = """
os.environ["AT_IMPORT"] = "1"

class Spawned(DTensorTestBase):
    world_size = 2

    def setUp(self):
        os.environ["IN_SET_UP"] = "1"
        self.addCleanup(os.environ.pop, "IN_SET_UP")
        os.chdir("tmp")
        self.addCleanup(os.chdir, os.getcwd())
        super().setUp()

    def test_like_the_test_process(self):
        self.assertEqual(("1", "1"), (os.environ["AT_IMPORT"], os.environ["IN_SET_UP"]))
        self.assertEqual("tmp", os.path.basename(os.getcwd()))
        self.assertEqual("-v", sys.argv[1])
        self.assertIs(type(self), sys.modules["__main__"].Spawned)
        self.assertEqual(1, sys.flags.dont_write_bytecode)

run_tests()
"""


class LikeTheTestProcess(SampleTestCase):
    def test_a_file_that_does_not_ask_for_its_name(self):
        path = self.write_sample(SAMPLE)
        path.write_text(path.read_text().partition('if __name__ == "__main__"')[0])
        run = self.run_command("-B", str(path), "-v", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertEqual(0, run.exit_code, run.output)
        self.assert_status(run, "Spawned.test_like_the_test_process", TestStatus.PASSED)
        self.assertEqual(1, run.output.count("Ran 1 test in"), run.output)
        self.assert_nothing_left()


if __name__ == "__main__":
    run_tests()
