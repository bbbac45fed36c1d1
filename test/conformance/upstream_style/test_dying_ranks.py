"""Ranks that end without a word: by an exit code, by a signal; the first one or another."""

import os
import signal
import sys

from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests


class DyingRanksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_first_rank_exits(self):
        if self.rank == 0:
            os._exit(3)

    def test_other_rank_exits(self):
        if self.rank == 1:
            os._exit(3)

    def test_first_rank_is_killed(self):
        if self.rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def test_other_rank_is_killed(self):
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def test_first_rank_leaves_by_sys_exit(self):
        if self.rank == 0:
            sys.exit(5)

    def test_other_rank_leaves_by_sys_exit(self):
        if self.rank == 1:
            sys.exit(5)


if __name__ == "__main__":
    run_tests()
