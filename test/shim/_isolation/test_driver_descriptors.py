"""What an accelerator's driver leaves in the test process is not the test's. The driver is pretended, by the sample
backend, which is like CUDA's then."""

import os
import socket
import sys
import unittest
from pathlib import Path

from torch_testing_shim._isolation.driver_descriptors import driver_state, held_by_python
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quartz_samples import SAMPLE, QuartzTestCase

TESTS = """
import socket, warnings
import torch_quartz.driver
from torch_testing_shim.common_distributed import MultiThreadedTestCase

warnings.simplefilter("ignore", ResourceWarning)
kept = []

class Threads(MultiThreadedTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()

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


class Leaks(QuartzTestCase):
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


class Descriptors(TestCase):
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


if __name__ == "__main__":
    run_tests()
