"""Bodies that never run, and subtests: what comes after one that fails does not hide it."""

from __future__ import annotations

import os
import signal
import sys
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, Faulty
from torch_testing_shim.common_distributed import TEST_SKIPS
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

IN_SUBTEST = r"rank 1 failed in subtest \(i=1\): AssertionError: the second"


class Unrun(Faulty, DTensorTestBase):
    async def coroutine(self):
        self.fail("the body")

    def generator(self):
        yield
        self.fail("the body")

    @ends(Ending.ERROR, "rank [012] errored: UnrunBodyError: the body of test_coroutine never ran: it is a coroutine")
    def test_coroutine(self):
        """Makes a coroutine, which nobody awaits, as the call of a coroutine function does."""
        self.strike()
        return self.coroutine()

    @ends(Ending.ERROR, "rank [012] errored: UnrunBodyError: the body of test_generator never ran: it has a `yield`")
    @with_comms
    def test_generator(self):
        """Makes a generator, as the call of a test with a `yield` does, in a process group."""
        self.meet()
        self.strike()
        return self.generator()

    @ends(Ending.ERROR, "rank [012] errored: UnrunBodyError: test_value returned False: a test returns None")
    def test_value(self):
        """Returns False instead of asserting."""
        self.strike()
        return False


class OwnWay(Faulty, DTensorTestBase):
    """Classes may run their tests, and judge exit codes, by themselves."""

    def run_test(self, test_name, parent_pipe):
        if self.is_guilty and test_name == "test_left_out_by_its_class":
            self.strike()
        else:
            super().run_test(test_name, parent_pipe)

    def _check_return_codes(self, *args, **kwargs):
        if self._testMethodName != "test_hang_that_its_class_accepts":
            super()._check_return_codes(*args, **kwargs)

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 0, without finishing its test$")
    def test_left_out_by_its_class(self):
        """Is not run on rank 1, by a `run_test` of the class's own."""

    @ends(Ending.ERROR, "rank 1 still ran at the deadline", hang=True)
    def test_hang_that_its_class_accepts(self):
        """Rank 1 hangs, and a `_check_return_codes` of the class's own accepts everything."""
        if self.is_guilty:
            self.strike()
            time.sleep(FOREVER)


class Subtests(Faulty, DTensorTestBase):
    def fail_in_subtest(self):
        for i in range(3):
            with self.subTest(i=i):
                if self.is_guilty and i == 1:
                    self.strike()
                    self.fail("the second")

    @ends(Ending.FAILED, IN_SUBTEST, "ranks 0, 2 passed")
    def test_one_fails(self):
        """The second of three subtests fails on rank 1."""
        self.fail_in_subtest()

    @ends(Ending.FAILED, IN_SUBTEST, r"rank 1, too:\nTraceback(.*\n)+KeyError: 'after'")
    def test_exception_after_it(self):
        """Rank 1 raises after a subtest has failed."""
        self.fail_in_subtest()
        if self.is_guilty:
            raise KeyError("after")

    @ends(Ending.FAILED, IN_SUBTEST, "rank 1 died: killed by SIGKILL")
    def test_killed_after_it(self):
        """Rank 1 is killed after a subtest has failed."""
        self.fail_in_subtest()
        if self.is_guilty:
            os.kill(os.getpid(), signal.SIGKILL)

    @ends(Ending.FAILED, IN_SUBTEST)
    def test_skip_after_it(self):
        """All ranks end with the code of a skip after a subtest has failed on rank 1."""
        self.fail_in_subtest()
        sys.exit(TEST_SKIPS["generic"].exit_code)

    @ends(Ending.FAILED, IN_SUBTEST)
    def test_skip_before_it(self):
        """The first subtest skips everywhere, and the second fails on rank 1."""
        with self.subTest(i=0):
            self.skipTest("not the first")
        self.fail_in_subtest()

    @ends(Ending.FAILED, IN_SUBTEST)
    @with_comms
    def test_others_wait(self):
        """A subtest fails on rank 1, and the other ranks wait for it in a collective."""
        self.meet()
        self.fail_in_subtest()
        if not self.is_guilty:
            dist.barrier()
