"""Ways in which rank 1 alone ends badly, none of which is a pass. Rank 0 ends well in each."""

import ctypes
import os
import signal
import sys
import unittest

from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase


class Endings(DTensorTestBase):
    world_size = 2

    def test_exits_with_3(self):
        if self.rank == 1:
            sys.exit(3)

    def test_exits_with_0_unfinished(self):
        if self.rank == 1:
            os._exit(0)

    def test_is_killed(self):
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def test_segfaults(self):
        if self.rank == 1:
            ctypes.string_at(0)

    def test_skips_alone(self):
        if self.rank == 1:
            raise unittest.SkipTest("rank 1 alone")

    def test_fails_alone(self):
        self.assertNotEqual(self.rank, 1)


class NoRanks(DTensorTestBase):
    world_size = 0

    def test_runs_nowhere(self):
        raise AssertionError("no rank is there to come here")
