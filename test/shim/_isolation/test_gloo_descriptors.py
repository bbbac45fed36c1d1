"""Gloo's event loops are found among this process's descriptors, and nothing else is taken for one."""

import asyncio
import os
import select

import torch
import torch.distributed as dist

from torch_testing_shim._isolation.gloo_descriptors import event_loops
from torch_testing_shim._isolation.leaks import leaks_since, take_snapshot
from torch_testing_shim.common_utils import TestCase, run_tests


class EventLoops(TestCase):
    def descriptors(self):
        folder = "/proc/self/fd"  # the one that lists it is gone when it is asked for
        return {int(name) for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}")}

    def test_of_a_group_while_it_lives(self):
        self.assertEqual([], event_loops())
        before = self.descriptors()
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        dist.all_reduce(torch.ones(1))
        new = self.descriptors() - before
        (loop,) = event_loops()
        self.assertEqual(4, len(loop))  # a pipe's two ends, what watches it, and the socket that peers connect to
        self.assertEqual(set(), loop - new)
        dist.destroy_process_group()
        self.assertEqual([], event_loops())

    def test_no_others(self):
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        watch = select.epoll()
        self.addCleanup(watch.close)
        self.assertEqual([], event_loops())

    def test_a_second_one_is_a_leak(self):
        def kept_group():
            return dist.ProcessGroupGloo(dist.HashStore(), 0, 1)

        start = take_snapshot()
        first = kept_group()
        self.assertEqual([], leaks_since(start, (), ()))
        between = take_snapshot()
        second = kept_group()
        found = leaks_since(between, (), ())
        self.assertEqual(3, len(found), found)
        self.assertTrue(all(leak.startswith("descriptor ") for leak in found), found)
        self.assertEqual(3, len(leaks_since(start, (), ())))
        del first, second


if __name__ == "__main__":
    run_tests()
