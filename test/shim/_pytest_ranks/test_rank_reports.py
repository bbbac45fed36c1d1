"""What a rank makes of pytest's reports: subtests, tear-down after a failure, warnings."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase

TESTS = """
import warnings
pytestmark = pytest.mark.ranks(2)

def test_subtests(subtests, rank):
    for number in range(3):
        with subtests.test(number=number):
            assert rank == 0 or number != 1
    assert True

def test_subtests_pass(subtests):
    with subtests.test("text", number=1):
        pass

@pytest.fixture
def torn():
    yield
    raise OSError("torn")

def test_fails_before_it_is_torn(torn):
    warnings.warn("careful", stacklevel=1)
    raise ValueError("first")

@pytest.fixture
def slow():
    yield
    time.sleep(0.3)

def test_the_first_exception_leads(slow, rank, process_group):
    if rank == 1:
        raise ValueError("mine")
    dist.barrier()

def test_text_that_cannot_be_shown():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError
    raise Odd
"""


class Reports(PytestTestCase):
    def test_each_kind(self):
        self.write(TESTS)
        run = self.run_pytest(expected=1)
        self.assert_ended(
            run,
            test_subtests_pass=("PASSED", ""),
            test_fails_before_it_is_torn=("FAILED", "rank * errored: ValueError: first"),
            test_the_first_exception_leads=("FAILED", "rank 1 errored: ValueError: mine"),
            test_text_that_cannot_be_shown=("FAILED", "rank * errored: "),
        )
        if "fixture 'subtests' not found" not in run.output:  # pytest 9 brings it
            self.assert_ended(
                run, test_subtests=("FAILED", "rank 1 failed in subtest (number=1): AssertionError: assert ")
            )
        self.assertIn("after that, teardown failed:", run.output)
        self.assertIn("warnings of all ranks:\n    2 x UserWarning: careful\n", run.output)
        self.assertIn("rank 0 lost its connection to rank 1", run.output)


if __name__ == "__main__":
    run_tests()
