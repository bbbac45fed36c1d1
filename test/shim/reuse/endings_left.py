"""Tests that end their ranks, fail or skip, each followed by one that has nothing to do with it.

test_007_killed_1_errs       how the first of two tests ends is the end of its name
test_007_killed_2_passes
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import unittest

import torch
import torch.distributed as dist
from left_state import LeftStateTestCase

from torch_testing_shim.common_distributed import TEST_SKIPS
from torch_testing_shim.common_utils import run_tests


def killed(test) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminated(test) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def crashed(test) -> None:
    ctypes.string_at(0)


def left_with_0(test) -> None:
    os._exit(0)


def left_with_3(test) -> None:
    os._exit(3)


def left_by_sys_exit(test) -> None:
    sys.exit(0)


def raised(test) -> None:
    raise ValueError("boom")


def raised_with_a_group(test) -> None:
    start(test)
    raise ValueError("boom")


def failed(test) -> None:
    test.assertEqual(1, 2)


def failed_in_a_subtest(test) -> None:
    with test.subTest("one"):
        test.assertEqual(1, 2)


def skipped_alone(test) -> None:
    raise unittest.SkipTest("no")


def dies_later(test) -> None:
    """Its process ends while a later test runs, or before."""
    threading.Timer(0.3, os._exit, [5]).start()


def closes_its_channel(test) -> None:
    """Close all descriptors but the standard ones: what the harness hears of the rank by, too."""
    os.closerange(3, 256)


def start(test) -> None:
    if not dist.is_initialized():
        store = dist.FileStore(test.file_name, test.world_size)
        dist.init_process_group("gloo", store=store, rank=test.rank, world_size=test.world_size)


#: In rank 1: what happens -> how its test ends.
ALONE = {
    killed: "errs",
    terminated: "errs",
    crashed: "errs",
    left_with_0: "errs",
    left_with_3: "errs",
    left_by_sys_exit: "errs",
    raised: "errs",
    failed: "fails",
    failed_in_a_subtest: "fails",
    skipped_alone: "errs",
    dies_later: "passes",
}


def skips(test) -> None:
    raise unittest.SkipTest("no")


def skips_by_exit_code(test) -> None:
    sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)


#: In both ranks.
TOGETHER = {skips: "skips", skips_by_exit_code: "skips", raised_with_a_group: "errs", closes_its_channel: "errs"}


class EndingsLeft(LeftStateTestCase):
    seconds = 0.5

    def go_on(self) -> None:
        """Is in order in any ranks that are."""
        time.sleep(self.seconds if "dies_later" in self._testMethodName else 0.0)
        start(self)
        total = torch.ones(1)
        dist.all_reduce(total)
        self.assertEqual(total.item(), self.world_size)


class AnnouncedEnd(LeftStateTestCase):
    """A test whose ranks have to end with an exit code of its own."""

    def setUp(self) -> None:
        super().setUp()
        if self._testMethodName == "test_1_ends_with_7_passes":
            self.special_return_code_checks = {self.test_1_ends_with_7_passes.__wrapped__: 7}

    def test_0_passes(self) -> None:
        self.record("0", None)

    def test_1_ends_with_7_passes(self) -> None:
        os._exit(7)

    def test_2_passes(self) -> None:
        self.record("2", None)


def add_tests() -> None:
    for index, (end, how) in enumerate([*ALONE.items(), *TOGETHER.items()]):
        stem = f"test_{index:03}_{end.__name__}"

        def first(self, end=end) -> None:
            if end in TOGETHER or self.rank == 1:
                end(self)

        for name, body in ((f"{stem}_1_{how}", first), (f"{stem}_2_passes", lambda self: self.go_on())):
            setattr(EndingsLeft, name, named(body, name))


def named(body, name):
    def test(self) -> None:
        self.record(name, None)
        body(self)

    test.__name__ = name
    return test


add_tests()

if __name__ == "__main__":
    run_tests()
