"""Collectives of the process group of threads: by wrapper, by base class, and across threads of autograd."""

import os
import sys
import threading
from unittest import SkipTest, skip

import torch
import torch.autograd
import torch.distributed as dist
from torch.distributed import _functional_collectives as funcol
from torch.testing._internal.common_distributed import (
    MultiThreadedTestCase,
    skip_if_lt_x_gpu,
    spawn_threads_and_init_comms,
)
from torch.testing._internal.common_utils import TestCase, instantiate_parametrized_tests, run_tests
from torch.testing._internal.distributed.multi_threaded_pg import (
    ProcessLocalGroup,
    ThreadLocalWorld,
    _install_threaded_pg,
    _uninstall_threaded_pg,
)

DEFAULT_WORLD_SIZE = 4


class ByWrapperTest(TestCase):
    @spawn_threads_and_init_comms
    def test_default_world(self):
        self.assertEqual(dist.get_world_size(), 4)

    @spawn_threads_and_init_comms(world_size=4)
    def test_broadcast_object_list(self):
        values = [99] if dist.get_rank() == 0 else [None]
        dist.broadcast_object_list(values)
        self.assertEqual(99, values[0])

    def test_several_runs_of_one_wrapper(self):
        @spawn_threads_and_init_comms(world_size=2)
        def use(self):
            ones = torch.ones(1)
            dist.all_reduce(ones)
            self.assertEqual(ones.item(), 2)

        use(self)
        use(self)

    def test_raises_in_a_thread(self):
        @spawn_threads_and_init_comms(world_size=4)
        def use(self):
            if dist.get_rank() == 1:
                raise Exception("in a thread")
            dist.barrier()

        with self.assertRaisesRegex(Exception, "in a thread"):
            use(self)

    @spawn_threads_and_init_comms(world_size=2)
    def test_skips_in_threads(self):
        raise SkipTest("everywhere")

    @spawn_threads_and_init_comms(world_size=2)
    def test_wrong_in_one(self):
        self.assertEqual(dist.get_rank(), 0)

    def test_installed(self):
        world = _install_threaded_pg()
        try:
            self.assertIsInstance(world, ThreadLocalWorld)
            self.assertTrue(issubclass(ProcessLocalGroup, dist.ProcessGroup))
        finally:
            _uninstall_threaded_pg()


class ByBaseClassTest(MultiThreadedTestCase):
    @property
    def world_size(self):
        return 4

    def setUp(self):
        os.environ["TORCH_DIST_INIT_BARRIER"] = "1"
        super().setUp()
        self._spawn_threads()

    def tearDown(self):
        super().tearDown()
        os.environ["TORCH_DIST_INIT_BARRIER"] = "0"

    def test_all_reduce_coalesced(self):
        tensors = [torch.ones(2) * self.rank, torch.ones(3)]
        dist.all_reduce_coalesced(tensors)
        self.assertEqual(tensors[0], torch.full((2,), 6.0))
        self.assertEqual(tensors[1], torch.full((3,), 4.0))

    def test_functional(self):
        summed = funcol.all_reduce(torch.ones(2), "sum", list(range(4)))
        self.assertEqual(summed, torch.full((2,), 4.0))
        whole = funcol.all_gather_tensor(torch.ones(1) * self.rank, 0, dist.group.WORLD)
        self.assertEqual(whole, torch.arange(4.0))

    def test_threads_of_autograd(self):
        ranks = []

        class Seen(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, rank):
                ctx.rank = rank
                self.assertEqual(dist.get_rank(), rank)
                return x * rank

            @staticmethod
            def backward(ctx, grad):
                ranks.append(dist.get_rank())
                gathered = [torch.empty_like(grad) for _ in range(4)]
                dist.all_gather(gathered, grad)
                return grad * ctx.rank, None

        x = torch.ones(2, requires_grad=True)
        Seen.apply(x, self.rank).sum().backward()
        self.assertEqual(ranks, [self.rank])

    def test_using_the_group_of_another_thread(self):
        def inner():
            self.assertFalse(dist.is_initialized())

        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    @skip_if_lt_x_gpu(1)
    def test_needs_an_accelerator(self):
        self.fail("there is none")

    @skip("a bug of torch")
    def test_left_out(self):
        self.fail("is skipped")

    def test_subtests_in_threads(self):
        for number in range(3):
            with self.subTest(number=number):
                tensor = torch.ones(1) * number
                dist.all_reduce(tensor)
                self.assertEqual(tensor.item(), 4 * number)

    def test_names(self):
        self.assertEqual(dist.get_backend(), "threaded")
        self.assertEqual(dist.get_world_size(), self.world_size)
        self.assertIn("torch", sys.modules)


instantiate_parametrized_tests(ByBaseClassTest)

if __name__ == "__main__":
    run_tests()
