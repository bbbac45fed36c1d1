"""Functions whose ranks are threads."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import SharedRunTestCase

TESTS = """
import threading
pytestmark = pytest.mark.ranks(3, threads=True)
PID = os.getpid()

@pytest.fixture
def made_once():
    return threading.current_thread()

def test_all(rank, world_size, process_group, device, device_mesh, tmp_path, made_once):
    tensor = torch.ones(1) * rank
    dist.all_reduce(tensor)
    assert tensor.item() == 3 and world_size == dist.get_world_size(process_group) == 3
    assert os.getpid() == PID and made_once is threading.main_thread()
    assert device_mesh.size() == 3 and device.type == "cpu" and tmp_path.exists()

def test_fails_in_one(rank):
    assert rank != 1

def test_all_skip():
    pytest.skip("not here")

@pytest.mark.parametrize("value", [1, 2])
def test_parameters(value):
    assert value in (1, 2)

class TestMethods:
    @pytest.mark.ranks(2, threads=True)
    def test_method(self, rank, world_size):
        assert world_size == 2

@pytest.fixture
def of_a_rank(rank):
    return rank

def test_fixture_of_a_rank(of_a_rank): pass

@pytest.mark.xfail(reason="known")
def test_xfails(rank):
    assert rank

@pytest.mark.ranks(2, threads=True, timeout=1)
def test_hangs(rank):
    if rank == 1:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(0.01)
"""


ENDS = {
    "test_all": ("PASSED", ""),
    "test_parameters[1]": ("PASSED", ""),
    "test_parameters[2]": ("PASSED", ""),
    "TestMethods::test_method": ("PASSED", ""),
    "test_fails_in_one": ("FAILED", "rank 1 failed: AssertionError: assert 1 != 1"),
    "test_fixture_of_a_rank": ("ERROR", "Failed: 'rank' has no value where ranks are threads, except as an argument"),
    "test_xfails": ("XFAIL", "known"),
    "test_hangs": ("FAILED", "rank 1 still ran at the deadline, in test_hangs (test_sample.py:"),
}


class Threads(SharedRunTestCase):
    files: ClassVar = {"test_sample.py": TESTS}

    @parametrize("name", list(ENDS))
    def test_end(self, name):
        self.assert_ended(self.shared, **{name: ENDS[name]})

    def test_all_skip(self):
        self.assertEqual([("SKIPPED", "not here")], self.shared.outcomes[""])


instantiate_parametrized_tests(Threads)


if __name__ == "__main__":
    run_tests()
