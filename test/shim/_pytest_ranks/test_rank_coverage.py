"""Lines that ranks run, counted by the real pytest-cov: of forked ranks, and of ranks in workers of pytest-xdist."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase, needs

LIBRARY = """
def where(rank):
    if rank == 0:
        return "zero"
    if rank == 1:
        return "one"
    return "many"
"""
COVERED = """
import library

@pytest.mark.ranks(2)
def test_before(rank):
    pass

@pytest.mark.ranks(2)
def test_both(rank):
    assert library.where(rank)
"""


class Coverage(PytestTestCase):
    plugins = ("pytest_cov", "xdist.plugin")

    def lines_count(self, *arguments, **extra):
        self.write(COVERED)
        (self.folder / "library.py").write_text(LIBRARY)
        run = self.run_pytest("--cov=library", "--cov-report=term-missing", *arguments, expected=0, **extra)
        self.assertRegex(run.output, r"library\.py +6 +1 +83% +7\n")
        self.assertEqual([".coverage"], [path.name for path in self.folder.glob(".coverage*")])
        self.assertNotIn("warnings summary", run.output)

    @needs("pytest_cov")
    def test_lines_of_every_rank_count_and_of_every_test_in_it(self):
        import coverage

        # Before coverage 7.17, the newest for Python 3.10 among them, a file that is saved twice may be passed over.
        is_saved_anew = hasattr(coverage.CoverageData, "_data_hash")
        self.lines_count(TORCH_TESTING_SHIM_REUSE_RANKS="1" if is_saved_anew else "")

    @needs("pytest_cov")
    def test_lines_of_ranks_in_workers_of_xdist_count(self):
        self.lines_count("-n", "1")


if __name__ == "__main__":
    run_tests()
