"""--coverage: what a file, its children and what it forks have run, in one report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RunnerTestCase, last_line

LIBRARY = """
def in_the_file():
    return 1

def in_a_fork_as_ranks_are():
    return 2

def in_a_child():
    return 3

def nowhere():
    return 4
"""
FORKS = """
def test_a(self):
    import library
    library.in_the_file()
    subprocess.run([sys.executable, "-c", "import library; library.in_a_child()"], check=True)

def test_b(self):
    import library
    pid = os.fork()
    if pid == 0:
        library.in_a_fork_as_ranks_are()
        os._exit(0)
    self.assertEqual((pid, 0), os.waitpid(pid, 0))
"""


class CoverageTest(RunnerTestCase):
    def test_all_processes_of_all_files_are_in_one_report(self) -> None:
        (self.tree / "library.py").write_text(LIBRARY)
        self.sample("test_x", FORKS)
        self.sample("test_y", "def test_c(self): pass")
        result = self.run_test("-c")
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertEqual("3 passed, 0 failed, 0 skipped", last_line(result.stdout))
        rows = dict(re.findall(r"(?m)^(\S+)\.py +(\d+ +\d+ +\d+%)$", result.stdout))
        self.assertEqual(["library", "mini_run", "test/test_x", "test/test_y"], sorted(rows))
        self.assertEqual(["8", "1", "88%"], rows["library"].split())
        data = self.tree / "test" / "test-reports" / "coverage" / "data"
        self.assertEqual([data], list(data.parent.iterdir()))
        command = [sys.executable, "-m", "coverage", "report", "-m", f"--data-file={data}", "--include=library.py"]
        table = subprocess.run(
            command, cwd=self.tree, env=self.environment(), capture_output=True, text=True, timeout=60
        )
        self.assertRegex(table.stdout, r"(?m)^library.py +8 +1 +88% +12$")
        self.assertNothingLeft()

    def test_a_run_that_measured_nothing_says_so(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        result = self.run_test("-c", "-x", "*")
        self.assertEqual(
            (5, "coverage: No data to report.\n0 passed, 0 failed, 0 skipped\n"), (result.returncode, result.stdout)
        )

    def test_without_coverage_or_a_place_for_its_data_nothing_runs(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        (self.tree / "test" / "test-reports").mkdir()
        (self.tree / "test" / "test-reports" / "coverage").write_text("in the way")
        result = self.run_test("-c")
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertRegex(
            result.stderr, r"\Arun_test.py: error: cannot write coverage data to '\S*': Not a directory\n\Z"
        )
        for text, expected in (
            ("raise ImportError('gone')", "--coverage needs coverage: pip install coverage"),
            (
                "version_info, __version__ = (7, 9, 2), '7.9.2'",
                "--coverage needs coverage 7.10 or newer, and 7.9.2 is installed",
            ),
        ):
            (self.tree / "coverage.py").write_text(text)
            result = self.run_test("-c")
            self.assertEqual(
                (2, "", f"run_test.py: error: {expected}\n"), (result.returncode, result.stdout, result.stderr)
            )


if __name__ == "__main__":
    run_tests()
