"""Things that a test file does at import and that make a fork unsafe: the harness notices, says why in one line, and
spawns, or forks from a new interpreter. The outcomes are the same; and what is no hazard does not cost the fork."""

import contextlib
import importlib.util
import os
import sys
import unittest
from importlib.metadata import entry_points
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

TESTS = """
class Two(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_fails(self):
        self.assertEqual(self.rank, 0)

    @with_comms
    def test_passes(self):
        total = torch.rand(64, 64) @ torch.rand(64, 64)
        dist.all_reduce(total)
        self.assertEqual((64, 64), total.shape)
"""
#: Says at import, in the test process alone, how many threads it has.
COUNT_THREADS = """
if __name__ == "__main__":
    print("threads at import:", len(os.listdir("/proc/self/task")))
"""
#: An accelerator as a package brings one, less the hardware. It stands in for a driver that runs in the test process,
#: of which nothing but the device module's answer can be had without a device. Only the test process has it, since
#: torch's collectives want the part of it that is written in C++.
ACCELERATOR = """
import types

if __name__ == "__main__":
    device = types.ModuleType("torch.pretended")
    device.is_initialized = lambda: {initialized}
    device.is_available = lambda: False
    device.device_count = lambda: 0
    device._is_in_bad_fork = lambda: False
    device.manual_seed_all = lambda seed: None
    torch.utils.rename_privateuse1_backend("pretended")
    torch._register_device_module("pretended", device)
"""
#: Where a package has brought a device, torch takes no other.
NO_OTHER_PACKAGE = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"} if entry_points(group="torch.backends") else {}
WITHOUT_COLLECTIVES = """
class One(DTensorTestBase):
    def test_passes(self):
        pass
"""


class ForkSafety(SampleTestCase):
    def run_hazard(self, body: str, **extra: str):
        """Run the tests after `body`, and check their outcomes.

        OMP_NUM_THREADS is as `extra` says, or not set.
        """
        with self.without_threads_variables():
            run = self.run_sample(body + TESTS, **extra)
        self.assertEqual(1, run.exit_code, run.output)
        self.assert_status(run, "Two.test_passes", TestStatus.PASSED)
        entry = self.assert_status(run, "Two.test_fails", TestStatus.FAILED)
        self.assertEqual("rank 1 failed: AssertionError: Scalars are not equal!", entry.reason)
        return run

    def run_alone(self, body: str):
        """Run one test on one rank, which imports torch where it is spawned."""
        with self.without_threads_variables():
            run = self.run_sample(f"{body}{WITHOUT_COLLECTIVES}    world_size = 1\n")
        self.assert_status(run, "One.test_passes", TestStatus.PASSED)
        return run

    @contextlib.contextmanager
    def without_threads_variables(self):
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        kept = {name: os.environ.pop(name) for name in threads if name in os.environ}
        try:
            yield
        finally:
            os.environ.update(kept)

    def check_spawned(self, run, reason: str):
        """`reason` is a regular expression."""
        line = f"torch_testing_shim: ranks are spawned, not forked, which is slower: {reason}\n"
        self.assertRegex(run.output, line)
        self.assertEqual(1, run.output.count("torch_testing_shim:"), run.output)

    def check_forked(self, run):
        self.assertNotIn("torch_testing_shim:", run.output)


class Threads(ForkSafety):
    def test_a_module_that_starts_a_thread(self):
        (self.folder / "starts_a_thread.py").write_text(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        )
        run = self.run_alone("import starts_a_thread\n")
        self.check_spawned(run, "2 threads are running in the test process")

    def test_a_matmul(self):
        run = self.run_alone("torch.set_num_threads(4)\ntorch.rand(512, 512) @ torch.rand(512, 512)\n")
        self.check_spawned(run, r"\d+ threads are running in the test process")

    def test_a_matmul_on_one_thread_is_no_hazard(self):
        body = "torch.rand(512, 512) @ torch.rand(512, 512)\n" + COUNT_THREADS
        run = self.run_hazard(body, OMP_NUM_THREADS="1")
        self.assertIn("threads at import: 1\n", run.output)
        self.check_forked(run)

    @unittest.skipIf(importlib.util.find_spec("numpy") is None, "needs numpy")
    def test_threads_that_end_before_a_fork_are_no_hazard(self):
        run = self.run_hazard("import numpy\n" + COUNT_THREADS, OPENBLAS_NUM_THREADS="3")
        self.check_forked(run)
        if "threads at import: 1\n" in run.output:
            self.skipTest("this numpy has no threads of its own")


class Accelerators(ForkSafety):
    def test_one_that_is_initialized(self):
        run = self.run_hazard(ACCELERATOR.format(initialized=True), **NO_OTHER_PACKAGE)
        reason = "pretended has been initialized in the test process"
        self.assertIn(
            f"torch_testing_shim: ranks are forked from a new interpreter, not from the test process: {reason}\n",
            run.output,
        )
        self.assertEqual(1, run.output.count("torch_testing_shim:"), run.output)

    def test_one_that_is_not(self):
        body = ACCELERATOR.format(initialized=False) + WITHOUT_COLLECTIVES
        run = self.run_sample(body, **NO_OTHER_PACKAGE)
        self.assertEqual(0, run.exit_code, run.output)
        self.assert_status(run, "One.test_passes", TestStatus.PASSED)
        self.check_forked(run)


if __name__ == "__main__":
    run_tests()
