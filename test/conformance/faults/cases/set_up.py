"""Faults around a test's body: in its start, the process group's, the controller's steps."""

from __future__ import annotations

import os
import signal
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, GUILTY, Faulty
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class InTheController(Faulty, DTensorTestBase):
    def setUp(self):
        if self._testMethodName == "test_set_up_before_the_ranks":
            self.strike()
            raise ValueError("in setUp")
        super().setUp()
        if self._testMethodName == "test_set_up_after_the_ranks":
            self.strike()
            raise ValueError("in setUp")
        if self._testMethodName == "test_cleanup":
            self.addCleanup({}.pop, "in a cleanup")
            self.addCleanup(self.strike)

    def tearDown(self):
        super().tearDown()
        if self._testMethodName == "test_tear_down":
            self.strike()
            raise ValueError("in tearDown")

    @ends(Ending.ERROR, "in setUp$")
    def test_set_up_before_the_ranks(self):
        """setUp raises before any rank is started."""

    @ends(Ending.ERROR, "in setUp$")
    @with_comms
    def test_set_up_after_the_ranks(self):
        """setUp raises when the ranks run already."""
        time.sleep(FOREVER)

    @ends(Ending.ERROR, "in tearDown$")
    def test_tear_down(self):
        """tearDown raises."""

    @ends(Ending.ERROR, "'in a cleanup'$")
    def test_cleanup(self):
        """A cleanup of the controller raises."""


class OfTheProcessGroup(Faulty, DTensorTestBase):
    def init_pg(self, *args, **kwargs):
        if self.is_guilty and self._testMethodName == "test_init_pg_raises":
            self.strike()
            raise ValueError("in init_pg")
        if self.is_guilty and self._testMethodName == "test_init_pg_crashes":
            self.strike()
            os.kill(os.getpid(), signal.SIGSEGV)
        super().init_pg(*args, **kwargs)

    def destroy_pg(self, *args, **kwargs):
        if self.is_guilty and self._testMethodName == "test_destroy_pg_raises":
            self.strike()
            raise ValueError("in destroy_pg")
        if self.is_guilty and self._testMethodName == "test_destroy_pg_crashes":
            self.strike()
            os.kill(os.getpid(), signal.SIGSEGV)
        super().destroy_pg(*args, **kwargs)

    @ends(Ending.ERROR, "rank 1 errored: ValueError: in init_pg$")
    @with_comms
    def test_init_pg_raises(self):
        """init_pg raises on rank 1."""

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGSEGV, without finishing its test$")
    @with_comms
    def test_init_pg_crashes(self):
        """init_pg crashes on rank 1."""

    @ends(Ending.ERROR, "rank 1 errored: ValueError: in destroy_pg$")
    @with_comms
    def test_destroy_pg_raises(self):
        """destroy_pg raises on rank 1."""
        self.meet()

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGSEGV, without finishing its test$")
    @with_comms
    def test_destroy_pg_crashes(self):
        """destroy_pg crashes on rank 1."""
        self.meet()


class OfARank(Faulty, DTensorTestBase):
    @classmethod
    def _run(cls, rank, test_name, *args, **kwargs):
        if rank == GUILTY and test_name == "test_run_raises":
            cls(test_name).strike()
            raise ValueError("in _run")
        if rank == GUILTY and test_name == "test_dies_before_its_test":
            cls(test_name).strike()
            os._exit(4)
        super()._run(rank, test_name, *args, **kwargs)

    @ends(Ending.ERROR, "rank 1 errored: ValueError: in _run$")
    def test_run_raises(self):
        """The rank's own start raises."""

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 4, without finishing its test$")
    def test_dies_before_its_test(self):
        """The rank ends before its test begins."""


class WrongWorld(Faulty, DTensorTestBase):
    world_size = 2.5

    def setUp(self):
        self.strike()
        super().setUp()

    @ends(Ending.ERROR, r"world_size must be a positive int, not 2\.5$")
    def test_half_a_rank(self):
        """The world works out to two ranks and a half."""


class NotStarted(Faulty, MultiProcessTestCase):
    def setUp(self):
        super().setUp()
        self.strike()

    @ends(Ending.ERROR, r"no rank was started: setUp has to end with self\._spawn_processes\(\)$")
    def test_no_rank_was_started(self):
        """setUp forgets to start the ranks."""


class OfTheHarness(Faulty, DTensorTestBase):
    @ends(
        Ending.ERROR,
        "the process that (ranks are forked from|started the ranks) died, and the ranks with it$",
        ours_only="upstream forks ranks from no such process",
    )
    @with_comms
    def test_kills_its_parent(self):
        """Kills its parent, the process that ranks are forked from."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.kill(os.getppid(), signal.SIGKILL)
        dist.barrier()
        time.sleep(FOREVER)
