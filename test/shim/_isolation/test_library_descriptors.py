"""Descriptors of libraries are known, and nothing else is taken for one of them: what a test leaves is told.

Against real groups, stores and pipes of gloo and libuv. An accelerator's driver is pretended, by the sample backend,
which is like CUDA's then.
"""

import asyncio
import os
import select
import socket
import sys
import unittest
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from torch_testing_shim._isolation.leaks import leaks_since, take_snapshot
from torch_testing_shim._isolation.library_descriptors import driver_state, event_loops, held_by_python, signal_pipes
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase
from quartz_samples import SAMPLE, QuartzTestCase

TESTS = """
import socket, warnings
import torch_quartz.driver

warnings.simplefilter("ignore", ResourceWarning)
kept = []

class Threads(SpawningThreads): pass

class ThreadsAsk(Threads):
    def test_barrier(self):
        dist.barrier()
        self.assertTrue(torch_quartz.driver.DRIVER.is_started)
        self.assertFalse(torch.quartz.is_initialized())

class ThreadsUse(Threads):
    def test_tensor(self):
        torch.ones(1, device="quartz")

class ThreadsUseAndLeave(Threads):
    def test_tensor(self):
        torch.ones(1, device="quartz")
        if self.rank == 0:
            kept.extend([socket.socket(), open("kept", "w"), os.pipe()])

class Without(TestCase):
    def test_pipe(self):
        kept.append(os.pipe())
"""


class DriverLeaks(QuartzTestCase):
    def leaks_of(self, *names):
        self.package.install()
        run = self.run_sample(TESTS, *names, "--strict-leaks", QUARTZ_LIKE_CUDA=str(self.folder / "notes"))
        for name in names:
            self.assertIn(name, run.entries, run.output)
        return {
            name: entry.reason.partition("left in the test process: ")[2]
            for name, entry in run.entries.items()
            if entry.status is not TestStatus.PASSED
        }

    def test_the_drivers_are_not_told_and_those_of_python_are(self):
        left = self.leaks_of("ThreadsUseAndLeave.test_tensor", "Without.test_pipe")
        self.assertEqual({"ThreadsUseAndLeave.test_tensor", "Without.test_pipe"}, left.keys())
        self.assertRegex(
            left["ThreadsUseAndLeave.test_tensor"],
            r"^descriptor \d+ \(socket:\[\d+\]\), descriptor \d+ \(\S*/kept\)$",
        )
        self.assertRegex(left["Without.test_pipe"], r"^descriptor \d+ \(pipe:\S+\), descriptor \d+ \(pipe:\S+\)$")

    def test_a_driver_in_use(self):
        self.assertEqual({}, self.leaks_of("ThreadsUse.test_tensor"))

    @unittest.skipUnless(os.access("/dev/fuse", os.R_OK | os.W_OK), "needs a device node that can be opened")
    def test_a_driver_that_was_only_asked(self):
        self.assertIn('"/dev/fuse"', (SAMPLE / "torch_quartz" / "driver.py").read_text())
        self.assertEqual({}, self.leaks_of("ThreadsAsk.test_barrier"))


class Drivers(TestCase):
    def test_held_by_python(self):
        ends = os.pipe()
        with socket.socket() as one, open(os.devnull) as file, open(os.devnull) as closed:
            closed.close()
            held = held_by_python()
            self.assertEqual({one.fileno(), file.fileno()}, held & {one.fileno(), file.fileno(), *ends})
        for end in ends:
            os.close(end)

    def test_ordinary_device_nodes_are_no_driver(self):
        before = driver_state()
        with open(os.devnull), open("/dev/urandom", "rb"):
            self.assertEqual(before, driver_state())


class EventLoops(TestCase):
    def descriptors(self):
        folder = "/proc/self/fd"  # the one that lists it is gone when it is asked for
        return {int(name) for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}")}

    def test_of_a_group_while_it_lives(self):
        self.assertEqual([], event_loops())
        before = self.descriptors()
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        # Torch 2.6 hangs where the group is destroyed while gloo's thread frees the tensor, which wants Python's lock.
        dist.all_reduce(tensor := torch.ones(1))
        new = self.descriptors() - before
        (loop,) = event_loops()
        self.assertEqual(1, tensor.item())
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


#: In the order of their names.
STORES = """
def store():
    return dist.TCPStore("127.0.0.1", 0, 1, True, timeout=timedelta(seconds=20))

class Stores(TestCase):
    def test_a_the_first_store(self):
        store().set("name", "value")

    def test_b_leaves_a_pipe(self):
        global kept
        kept = os.pipe()
        os.write(kept[1], b"1")

    def test_c_another_store(self):
        store().set("name", "value")
"""


@unittest.skipUnless(os.path.isdir("/proc/self/fd"), "needs /proc")
class Pipes(TestCase):
    def test_a_store_opens_one_and_no_more(self):
        before = signal_pipes()
        for _ in range(2):
            dist.TCPStore("127.0.0.1", 0, 1, True, timeout=timedelta(seconds=20)).set("name", "value")
        new = [pair for pair in signal_pipes() if pair not in before]
        self.assertEqual(1, len(new) + len(before))

    def test_other_pipes_are_told_apart(self):
        before = signal_pipes()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.assertEqual(before, signal_pipes())
        os.write(writer, b"12")
        self.assertEqual(before, signal_pipes())
        os.close(writer)
        os.read(reader, 1)
        self.assertEqual(before, signal_pipes())


class PipeLeaks(SampleTestCase):
    def test_only_the_test_that_leaves_a_pipe_is_blamed(self):
        run = self.run_sample("from datetime import timedelta\n" + STORES, TORCH_TESTING_SHIM_STRICT_LEAKS="1")
        self.assertEqual(1, run.exit_code, run.output)
        self.assertEqual(
            ["Stores.test_b_leaves_a_pipe"],
            [test for test, entry in run.entries.items() if entry.status.is_failure],
            run.output,
        )


if __name__ == "__main__":
    run_tests()
