"""The fixtures of ranks, and the options of the mark that they read."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import SharedRunTestCase

FIXTURES = """
@pytest.mark.ranks([1, 2])
def test_group(process_group, rank, world_size, device):
    tensor = torch.full((2,), float(rank), device=device)
    dist.all_reduce(tensor)
    assert tensor.tolist() == [sum(range(world_size))] * 2
    assert (dist.get_rank(), dist.get_world_size(process_group)) == (rank, world_size)
    assert dist.get_backend() == "gloo" and device == torch.device("cpu")

@pytest.mark.ranks(2, backend="cpu:gloo")
def test_backend_of_the_mark(process_group):
    assert dist.get_backend_config() == "cpu:gloo"

@pytest.mark.ranks(2, backend="mpi")
def test_backend_that_is_not_there(process_group): pass

@pytest.mark.ranks(2, timeout=30)
def test_time_of_the_group(process_group):
    assert process_group._get_backend(torch.device("cpu")).options._timeout.total_seconds() == 27

@pytest.mark.ranks(2)
def test_mesh(device_mesh):
    assert device_mesh.mesh.tolist() == [0, 1]

@pytest.mark.ranks(2)
def test_shared_folder(shared_tmp_path, process_group, rank, tmp_path):
    (shared_tmp_path / str(rank)).touch()
    dist.barrier()
    assert sorted(one.name for one in shared_tmp_path.iterdir()) == ["0", "1"]
    assert not [*tmp_path.iterdir()]

@pytest.mark.ranks(2)
def test_agreed(agreed, rank):
    with agreed():
        assert rank == 0, "not mine"

@pytest.mark.ranks(2)
def test_group_that_the_test_ends(process_group):
    dist.destroy_process_group()

@pytest.mark.ranks(2)
def test_no_group_without_its_fixture(rank, world_size, device):
    assert not dist.is_initialized()

@pytest.mark.ranks(2)
def test_group_is_skipped_in_all(process_group):
    pytest.skip("later")

def test_without_the_mark(rank): pass

@pytest.fixture
def rank_of_a_project():
    return "mine"

@pytest.mark.ranks(2)
class TestOverridden:
    @pytest.fixture
    def device(self, rank):
        return f"device {rank}"

    def test_device(self, device, rank, rank_of_a_project):
        assert (device, rank_of_a_project) == (f"device {rank}", "mine")
"""


ENDS = {
    "test_group[ranks=1]": ("PASSED", ""),
    "test_group[ranks=2]": ("PASSED", ""),
    "test_backend_of_the_mark": ("PASSED", ""),
    "test_time_of_the_group": ("PASSED", ""),
    "test_mesh": ("PASSED", ""),
    "test_shared_folder": ("PASSED", ""),
    "test_agreed": ("FAILED", "rank 1 failed: AssertionError: not mine"),
    "test_group_that_the_test_ends": ("PASSED", ""),
    "test_no_group_without_its_fixture": ("PASSED", ""),
    "test_without_the_mark": ("ERROR", "Failed: the fixture 'rank' needs @pytest.mark.ranks(N) above the test"),
    "TestOverridden::test_device": ("PASSED", ""),
}


class Fixtures(SharedRunTestCase):
    files: ClassVar = {"test_sample.py": FIXTURES}
    arguments = ("-W", "error")

    @parametrize("name", list(ENDS))
    def test_end(self, name):
        self.assert_ended(self.shared, **{name: ENDS[name]})

    def test_skips(self):
        skips = ["the process-group backend 'mpi' is not available", "later"]
        self.assertEqual(skips, [said for _, said in self.shared.outcomes[""]])

    def test_ranks_that_agree_fail_together(self):
        self.assert_said("\nrank 0 found nothing wrong")


instantiate_parametrized_tests(Fixtures)


if __name__ == "__main__":
    run_tests()
