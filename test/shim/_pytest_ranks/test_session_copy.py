"""Ranks that are not forked from pytest's process: in pytest-xdist's workers, and spawned ones."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase

TESTS = """
@pytest.mark.ranks(2)
@pytest.mark.parametrize("text", ["a::b", "c"])
def test_parameters(text, process_group, tmp_path, from_conftest, option):
    dist.barrier()
    assert from_conftest == "c" and option == "given"

@pytest.mark.ranks([1, 2])
class TestInner:
    def test_fails_on_two(self, rank):
        data = [rank]
        assert data == [0]

@pytest.fixture(scope="session")
def of_session():
    return os.getpid()

@pytest.mark.ranks(1)
def test_fixture_that_does_not_reach_ranks(of_one_process): pass

@pytest.mark.ranks(2)
def test_wider_fixtures_are_made_anew(of_session):
    assert of_session == os.getpid()
"""
FAILS_AT_LAST = """
@pytest.mark.ranks(1)
def test_fails_at_last(rank, process_group, from_conftest, option):
    dist.barrier()
    if from_conftest == "c" and option == "given":
        data = [rank]
        assert data == [1]
"""
CONFTEST = """
from pathlib import Path
import pytest

def pytest_addoption(parser):
    parser.addoption("--mine")

class OfOneProcess:
    @pytest.fixture
    def of_one_process(self):
        return 1

def pytest_configure(config):
    try:
        Path(__file__).with_name("configured").touch(exist_ok=False)
    except FileExistsError:
        return  # a rank's session, or that of its server
    config.pluginmanager.register(OfOneProcess())

@pytest.fixture
def option(request):
    return request.config.getoption("mine")

@pytest.fixture
def from_conftest():
    return "c"
"""


class Copies(PytestTestCase):
    def setUp(self):
        super().setUp()
        self.write(TESTS)
        (self.folder / "conftest.py").write_text(CONFTEST)

    def check(self, run):
        passed = ("test_parameters[a::b]", "test_parameters[c]", "TestInner::test_fails_on_two[ranks=1]")
        self.assert_ended(run, **dict.fromkeys((*passed, "test_wider_fixtures_are_made_anew"), ("PASSED", "")))
        failed = {
            "TestInner::test_fails_on_two[ranks=2]": ("FAILED", "rank 1 failed: AssertionError: assert [1] == [0]")
        }
        self.assert_ended(run, **failed)
        self.assertIn("E       assert [1] == [0]", run.output)
        self.assertEqual(6, len(run.outcomes), run.output)

    def test_in_workers_of_xdist(self):
        self.plugins = ("xdist.plugin",)
        run = self.run_pytest("-n", "1", "--mine=given", expected=1, TORCH_TESTING_SHIM_REUSE_RANKS="1")
        self.check(run)
        self.assertIn("ranks are forked from a new interpreter", run.output)
        said = (
            "rank 0 errored: FixtureLookupError: fixture 'of_one_process' not found in a rank that is not forked from"
        )
        self.assert_ended(run, test_fixture_that_does_not_reach_ranks=("FAILED", said))

    def test_bad_marks_in_workers(self):
        self.plugins = ("xdist.plugin",)
        self.write("@pytest.mark.ranks(0)\ndef test_a(): pass")
        run = self.run_pytest("-n", "1")
        self.assertNotEqual(0, run.exit_code)
        self.assertIn("test_sample.py::test_a: ranks(0): the number of ranks must be", run.output)

    def test_spawned(self):
        self.write(TESTS + FAILS_AT_LAST)  # one test on one rank, which imports torch
        spawn = {"TORCH_TESTING_SHIM_START_METHOD": "spawn"}
        run = self.run_pytest("--mine=given", "-k", "at_last", expected=1, **spawn)
        self.assert_ended(run, test_fails_at_last=("FAILED", "rank 0 failed: AssertionError: assert [0] == [1]"))


if __name__ == "__main__":
    run_tests()
