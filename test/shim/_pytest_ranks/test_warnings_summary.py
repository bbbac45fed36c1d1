"""Warnings of ranks in pytest's summary, and as errors."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import SharedRunTestCase

TESTS = """
import warnings
pytestmark = pytest.mark.ranks(3)

class Own(UserWarning): pass

def test_passes(rank):
    warnings.warn("of all", Own, stacklevel=1)
    warnings.warn("of all", Own, stacklevel=1)
    if rank != 1:
        class Inner(Warning): pass
        warnings.warn("of some", Inner, stacklevel=1)

@pytest.mark.parametrize("number", [1, 2])
def test_gives_the_same(number):
    warnings.warn("same", stacklevel=1)

def test_fails(rank):
    warnings.warn("before it", stacklevel=1)
    assert rank != 2

def test_is_an_error(rank):
    if rank == 1:
        warnings.warn("forbidden", DeprecationWarning, stacklevel=1)

@pytest.mark.filterwarnings("error:by mark")
def test_is_an_error_by_its_mark(rank):
    warnings.warn("by mark", stacklevel=1)

@pytest.mark.filterwarnings("ignore")
def test_ignores():
    warnings.warn("ignored", stacklevel=1)

def test_expects():
    with pytest.warns(UserWarning, match="expected"):
        warnings.warn("expected", stacklevel=1)
    with pytest.deprecated_call():
        warnings.warn("expected, too", DeprecationWarning, stacklevel=1)
"""


class Warnings(SharedRunTestCase):
    files: ClassVar = {"test_sample.py": TESTS}
    arguments = ("-W", "error:forbidden")

    def test_those_of_a_passing_test_are_told_once_with_its_ranks(self):
        self.assert_ended(self.shared, test_passes=("PASSED", ""))
        self.assert_said(
            "test_sample.py::test_passes\n  ",
            'test_sample.py:13: Own: of all (ranks 0-2)\n    warnings.warn("of all", Own, stacklevel=1)\n',
            "UserWarning: Inner: of some (ranks 0, 2)\n",
        )
        self.assertEqual(1, self.shared.output.count("test_sample.py:13: Own: of all"))

    def test_those_of_several_tests_are_folded(self):
        self.assert_said("test_sample.py::test_gives_the_same[1]\ntest_sample.py::test_gives_the_same[2]\n  ")
        self.assertEqual(1, self.shared.output.count("UserWarning: same (ranks 0-2)"))

    def test_those_of_a_failing_test_are_told_too(self):
        self.assert_said("UserWarning: before it (ranks 0-2)", "    3 x UserWarning: before it\n")

    def test_as_errors(self):
        self.assert_ended(
            self.shared,
            test_is_an_error=("FAILED", "rank 1 errored: DeprecationWarning: forbidden"),
            test_is_an_error_by_its_mark=("FAILED", "rank * errored: UserWarning: by mark"),
        )

    def test_ignored_and_expected_ones_are_not_told(self):
        self.assert_ended(self.shared, test_ignores=("PASSED", ""), test_expects=("PASSED", ""))
        self.assertNotIn("ignored (", self.shared.output)
        self.assertNotIn("expected (", self.shared.output)
        self.assert_said(" 6 warnings in ")


if __name__ == "__main__":
    run_tests()
