"""Which tests run on ranks, and what is said of marks that cannot be used."""

import configparser
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT
from pytest_samples import PytestTestCase

PLACES = """
import unittest
from torch_testing_shim.common_distributed import MultiProcessTestCase

pytestmark = pytest.mark.ranks(2)
IN = os.getpid()

def is_rank():
    return os.getppid() != os.getpid() and IN != os.getpid()

def test_by_module(world_size):
    assert world_size == 2 and is_rank()

@pytest.mark.ranks([1, 3])
class TestByClass:
    def test_method(self, world_size):
        assert world_size in (1, 3) and is_rank()

    @pytest.mark.ranks(4)
    def test_nearest_wins(self):
        assert is_rank()

@pytest.mark.parametrize("count", [pytest.param(3, marks=pytest.mark.ranks(3))])
def test_by_parameter(count, world_size):
    assert count == world_size

def test_by_conftest(world_size):
    assert world_size == 4

class TestUnit(unittest.TestCase):
    def setUp(self):
        self.pid = os.getpid()

    def test_of_unittest(self):
        self.assertTrue(is_rank())
        self.assertEqual(self.pid, os.getpid())

class TestOwnRanks(MultiProcessTestCase):
    world_size = 3

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_has_its_own(self):
        assert self.world_size == 3 and self.rank < 3

@pytest.mark.ranks(2, devices=99)
def test_more_devices_than_there_are():
    os.kill(os.getppid(), signal.SIGKILL)
"""


CONFTEST = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == "test_by_conftest":
            item.add_marker(pytest.mark.ranks(4))
"""


class Places(PytestTestCase):
    def test_each_place_of_a_mark(self):
        self.write(PLACES)
        (self.folder / "conftest.py").write_text(CONFTEST)
        run = self.run_pytest(expected=0)
        self.assertEqual(
            [
                "test_by_module",
                "TestByClass::test_method[ranks=1]",
                "TestByClass::test_method[ranks=3]",
                "TestByClass::test_nearest_wins",
                "test_by_parameter[3]",
                "test_by_conftest",
                "TestUnit::test_of_unittest",
                "TestOwnRanks::test_has_its_own",
            ],
            [name for name, found in run.outcomes.items() if found[0][0] == "PASSED"],
            run.output,
        )
        self.assertEqual([("SKIPPED", "needs at least 99 accelerators, found 0")], run.outcomes[""])

    def test_the_run_without_ranks_is_pytests_own(self):
        self.write("def test_a(): pass")
        run = self.run_pytest("--collect-only", "-q", "-p", "no:capture", expected=0)
        self.assertIn("test_sample.py::test_a", run.output)
        run = self.run_pytest("--markers", expected=0)
        self.assertIn(
            "@pytest.mark.ranks(count, *, backend=None, timeout=None, devices=0, threads=False, reuse=None): run",
            run.output,
        )

    def test_an_id_that_names_no_test_is_pytests_usage_error(self):
        self.write("@pytest.mark.ranks(2)\ndef test_a(): pass")
        run = self.run_pytest("test_sample.py::no_such_test", expected=4)
        self.assertRegex(run.output, r"\nERROR: not found: .*test_sample\.py::no_such_test\n")
        self.assertNotIn("Traceback", run.output)

    def test_the_entry_point_loads_it_once(self):
        self.write("@pytest.mark.ranks(2)\ndef test_a(rank): pass")
        declared = configparser.ConfigParser()
        declared.read(ROOT / "setup.cfg")
        installed = self.folder / "torch_testing_shim-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-testing-shim\nVersion: 1.0\n")
        entries = declared["options.entry_points"]["pytest11"].strip()
        (installed / "entry_points.txt").write_text(f"[pytest11]\n{entries}\n")
        for more in ([], ["-p", "torch_testing_shim.pytest_plugin"]):
            run = self.run_command("-m", "pytest", "-p", "no:cacheprovider", *more)
            self.assertEqual(0, run.exit_code, run.output)
            self.assertIn("plugins: torch-testing-shim-1.0", run.output)
            self.assertIn("1 passed", run.output)

    def test_marks_that_cannot_be_used(self):
        of_parameter = "parametrize('n', [pytest.param(1, marks=pytest.mark.ranks([1, 2]))])"
        function, method = "def test_a(): pass", "class TestA(unittest.TestCase):\n    def test_a(self): pass"
        for mark, of, said in (
            ("ranks(0)", function, "ranks(0): the number of ranks must be a positive int, or a list of them"),
            ("ranks([1, 2])", method, "ranks([1, 2]): a method of a unittest class takes one number of ranks"),
            (of_parameter, "def test_a(n): pass", "ranks([1, 2]): a mark of a parameter, or one that is added later, "),
            ("ranks('4')", function, "ranks('4'): the number of ranks must be a positive int, or a list of them"),
        ):
            self.write(f"import unittest\n@pytest.mark.{mark}\n{of}")
            run = self.run_pytest(expected=4)
            self.assertRegex(run.output, r"\nERROR: test_sample\.py::(TestA::)?test_a")
            self.assertIn(f": {said}", run.output)
            self.assertNotIn("Traceback", run.output)


if __name__ == "__main__":
    run_tests()
