"""`fake_pg` and `distributed_utils`: process groups of any size in one process."""

import torch
import torch.distributed as dist

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.distributed_utils import (
    MockProcessGroup,
    create_mock_pg,
    mock_init_dist,
    with_dist,
    with_fake_comms,
)
from torch_testing_shim.distributed.fake_pg import FakeStore


class Fake(TestCase):
    def test_one_rank_of_many(self):
        dist.init_process_group("fake", store=FakeStore(), rank=3, world_size=64)
        self.addCleanup(dist.destroy_process_group)
        self.assertEqual(("fake", 3, 64), (dist.get_backend(), dist.get_rank(), dist.get_world_size()))
        gathered = torch.zeros(128)
        dist.all_gather_into_tensor(gathered, torch.ones(2))  # returns, though there is nobody else
        dist.barrier()
        self.assertEqual(32, dist.get_world_size(dist.new_group(list(range(32)))))

    def test_store_is_a_store(self):
        self.assertIsInstance(FakeStore(), dist.Store)


class Mock(TestCase):
    def assert_rank(self, rank, world_size):
        self.assertEqual((rank, world_size), (dist.get_rank(), dist.get_world_size()))
        self.assertEqual("mock_process_group", dist.get_backend())

    def test_with_dist(self):
        with with_dist(rank=1, world_size=3):
            self.assert_rank(1, 3)
            with self.assertRaises(RuntimeError):  # there are no collectives
                dist.all_reduce(torch.ones(1))
        self.assertFalse(dist.is_initialized())
        with self.assertRaises(KeyError), with_dist():
            self.assert_rank(0, 2)
            raise KeyError
        self.assertFalse(dist.is_initialized())

    def test_with_fake_comms(self):
        @with_fake_comms
        def bare(case):
            case.assert_rank(0, 2)

        @with_fake_comms(rank=2, world_size=5)
        def with_arguments(case, word, other=None):
            case.assert_rank(2, 5)
            case.assertEqual(("a", "b"), (word, other))

        for call in (lambda: bare(self), lambda: with_arguments(self, "a", other="b")):
            call()
            self.assertFalse(dist.is_initialized())
        self.assertEqual("bare", bare.__name__)

    @with_fake_comms(world_size=4)
    def test_as_a_decorator_of_a_test(self):
        self.assert_rank(0, 4)

    def test_by_hand(self):
        mock_init_dist(0, 2)
        self.addCleanup(dist.destroy_process_group)
        with self.assertRaisesRegex(AssertionError, "process group already"):
            mock_init_dist(0, 2)

    def test_group(self):
        group = create_mock_pg(None, 1, 2, None)
        self.assertIsInstance(group, MockProcessGroup)
        self.assertEqual((1, 2, "mock_process_group"), (group.rank(), group.size(), group.getBackendName()))


if __name__ == "__main__":
    run_tests()
