"""unittest's test cases with ranks, run by pytest: its reports tell of their ranks as of marked functions."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase

CASES = """
from torch_testing_shim.common_distributed import MultiProcessTestCase

class TestRanks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_passes(self):
        print("printed by", self.rank)

    def test_fails(self):
        assert self.rank == 0
"""


class Summary(PytestTestCase):
    def test_of_test_cases(self):
        self.write(CASES)
        run = self.run_pytest("-s", "--junitxml=report.xml", "--durations=2", expected=1)
        self.assert_ended(
            run,
            **{
                "TestRanks::test_passes": ("PASSED", ""),
                "TestRanks::test_fails": ("FAILED", "rank 1 failed: AssertionError"),
            },
        )
        self.assertIn("[rank 1] printed by 1\n", run.output)
        self.assertNotIn("torch_testing_shim/_", run.output)
        self.assertRegex(run.output, r"s call +test_sample.py::TestRanks::test_fails\n")
        report = (self.folder / "report.xml").read_text()
        self.assertRegex(report, '<property name="rank 1" value="failed in 0\\.[0-9]+ s" */>')
        self.assertIn('<failure message="rank 1 failed: AssertionError', report)

    def test_styles_of_tracebacks(self):
        self.write("@pytest.mark.ranks(2)\ndef test_fails(rank):\n    assert rank == 0")
        failed = "rank 1 failed: AssertionError: assert 1 == 0\n"
        for style, said in (
            ("line", f"\nE   {failed}{self.folder}/test_sample.py:6: {failed}"),
            ("native", f"_\n{failed}\nrank 1:\nTraceback"),
        ):
            run = self.run_pytest(f"--tb={style}", expected=1)
            self.assertIn(said, run.output)
            self.assertNotIn("torch_testing_shim/_", run.output)


if __name__ == "__main__":
    run_tests()
