"""torch_testing_shim._pytest_ranks.joined_session and joined_item"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # test/shim, for what samples share

from joined_samples import JoinedSampleTestCase

from torch_testing_shim.common_utils import run_tests

HOST = socket.gethostname()
PYTEST = ["-m", "pytest", "-p", "torch_testing_shim.pytest_plugin", "-v", "-rA", "--tb=short"]

SAMPLE = """
import pytest

PROCESS = os.environ.get("RANK")

class TestCases(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_passes(self):
        dist.barrier()

    @with_comms
    def test_fails(self):
        self.assertNotEqual(1, self.rank)
        dist.barrier()

@pytest.fixture(scope="module")
def wide():
    return os.getpid()

@pytest.mark.ranks(2)
def test_meets(process_group, rank, wide, shared_tmp_path):
    tensor = torch.ones(1) * rank
    dist.all_reduce(tensor)
    assert tensor.item() == 1 and wide == os.getpid()
    (shared_tmp_path / str(rank)).write_text("")
    dist.barrier()
    assert len(list(shared_tmp_path.iterdir())) == 2

@pytest.mark.ranks(2)
def test_fails_in_rank_1(process_group, rank):
    assert rank != 1
    dist.barrier()

@pytest.mark.ranks([1, 2])
def test_of_each_size(process_group, world_size):
    assert dist.get_world_size() == world_size

@pytest.mark.ranks(3)
def test_needs_three(rank):
    pass

@pytest.mark.ranks(2)
def test_skips(rank):
    pytest.skip("no")

@pytest.mark.ranks(2)
@pytest.mark.xfail
def test_expected(rank):
    assert rank == 0

@pytest.mark.ranks(2)
@pytest.mark.xfail(raises=KeyError)
def test_expected_otherwise(rank):
    torch.nn.Module.register_module = None
    assert rank == 0

@pytest.mark.ranks(2)
class TestMarked(unittest.TestCase):
    def setUp(self):
        self.is_set_up = True

    def test_of_unittest(self):
        self.assertTrue(self.is_set_up)

    def test_of_unittest_fails(self):
        self.assertNotEqual("1", PROCESS)

@pytest.fixture
def torn():
    yield
    assert PROCESS == "0"

@pytest.mark.ranks(2)
def test_torn_in_rank_1(torn):
    pass

def test_plain():
    pass

def test_plain_fails_in_process_1():
    assert PROCESS == "0"
"""


class JoinedSessionTest(JoinedSampleTestCase):
    def test_every_process_is_a_rank(self) -> None:
        sample = self.write_sample(SAMPLE)
        found = self.run_joined([[*PYTEST, sample]] * 2)
        said = found.outputs[0]
        self.assertEqual(([1, 1], ""), (found.exit_codes, found.outputs[1]), said)
        ends = dict(
            line.removesuffix("]").rpartition("[")[0].strip().rpartition(" ")[::2]
            for line in said.splitlines()
            if line.startswith("test_sample.py::")
        )
        names = {name.partition("::")[2].partition(" (")[0].partition(" <-")[0]: end for name, end in ends.items()}
        passed = ["TestCases::test_passes", "test_meets", "test_of_each_size[ranks=1]", "test_of_each_size[ranks=2]"]
        passed += ["TestMarked::test_of_unittest"]
        failed = [
            "TestMarked::test_of_unittest_fails",
            "TestCases::test_fails",
            "test_fails_in_rank_1",
            "test_expected_otherwise",
            "test_torn_in_rank_1",
        ]
        for expected, tests in (("PASSED", [*passed, "test_plain"]), ("FAILED", failed), ("XFAIL", ["test_expected"])):
            for test in tests:
                self.assertEqual(expected, names.get(test), f"{test}\n{said}")
        self.assertRegex(said, r"needs 3 ranks; the launcher has started 2")
        self.assertRegex(said, r"SKIPPED .*: no\b")
        self.assertIn(f"rank 1 ({HOST}) failed: AssertionError", said)
        self.assertIn(f"ERROR: test_sample.py::test_plain_fails_in_process_1\nrank 1 ({HOST}): failed: ", said)
        self.assertRegex(said, r"::test_expected_otherwise: state was left behind in ranks 0, 1, .*register_module")
        self.assertEqual([], [name for name in os.listdir(self.folder / "tmp") if not name.startswith("pytest-of")])

    def test_what_differs_or_makes_no_sense_is_told_by_rank_0(self) -> None:
        sample = self.write_sample("if os.environ['RANK'] == '1':\n    raise ValueError('here')\ndef test_1(): pass")
        for words, line in (
            (
                [],
                rf"cannot be collected: nothing on rank 0 \({HOST}\); test_sample.py: .*ValueError: here on rank 1",
            ),
            (["-x"], "-x and --maxfail cannot be combined with torchrun, whose processes are the ranks of every test"),
        ):
            found = self.run_joined([[*PYTEST, sample, *words]] * 2)
            self.assertEqual([4, 4], found.exit_codes, found.outputs)
            self.assertRegex(found.outputs[0], line)
            self.assertEqual("", found.outputs[1])


if __name__ == "__main__":
    run_tests()
