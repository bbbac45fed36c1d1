"""The one pipe that libuv keeps is known, against real stores and pipes; a second one is nobody's but the test's."""

from __future__ import annotations

import os
import sys
import unittest
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from torch_testing_shim._isolation.libuv_descriptors import signal_pipes
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

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
    def test_a_store_opens_one_and_no_more(self) -> None:
        before = signal_pipes()
        for _ in range(2):
            dist.TCPStore("127.0.0.1", 0, 1, True, timeout=timedelta(seconds=20)).set("name", "value")
        new = [pair for pair in signal_pipes() if pair not in before]
        self.assertEqual(1, len(new) + len(before))

    def test_other_pipes_are_told_apart(self) -> None:
        before = signal_pipes()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.assertEqual(before, signal_pipes())
        os.write(writer, b"12")
        self.assertEqual(before, signal_pipes())
        os.close(writer)
        os.read(reader, 1)
        self.assertEqual(before, signal_pipes())


class Leaks(SampleTestCase):
    def test_only_the_test_that_leaves_a_pipe_is_blamed(self) -> None:
        run = self.run_sample("from datetime import timedelta\n" + STORES, TORCH_TESTING_SHIM_STRICT_LEAKS="1")
        self.assertEqual(1, run.exit_code, run.output)
        self.assertEqual(
            ["Stores.test_b_leaves_a_pipe"],
            [test for test, entry in run.entries.items() if entry.status.is_failure],
            run.output,
        )


if __name__ == "__main__":
    run_tests()
