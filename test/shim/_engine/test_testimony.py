"""What real ranks tell before they are ended, the stuck ones included."""

import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.testimony import take_testimonies
from torch_testing_shim._engine.waits import Wait
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import SOON, StuckRanksTestCase


class Testimonies(StuckRanksTestCase):
    def await_testimony(self, ranks, rank, function):
        """What the rank tells once it stands in the function."""
        give_up = time.monotonic() + SOON
        while f"in {function}\n" not in (told := take_testimonies(ranks, [rank], native=False)[rank]).stacks:
            self.assertLess(time.monotonic(), give_up, told)
        return told

    def test_a_rank_in_a_collective(self):
        ranks = self.start("waits_in_a_collective", 2)
        told = self.await_testimony(ranks, 0, "all_reduce")
        self.assertIs(Wait.COLLECTIVE, told.wait)
        self.assertEqual("", told.native_stacks)

    def test_a_rank_that_cannot_answer_still_shows_its_stacks(self):
        ranks = self.start("holds_the_interpreters_lock", 1)
        told = self.await_testimony(ranks, 0, "holds_the_interpreters_lock")
        self.assertIs(Wait.UNKNOWN, told.wait)

    def test_py_spy_is_asked_for_one_rank_at_each_place(self):
        ranks = self.start("sleeps", 3)
        for rank in range(3):
            self.await_testimony(ranks, rank, "sleeps")
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, PATH=folder):
            stand_in = Path(folder, "py-spy")
            stand_in.write_text('#!/bin/sh\necho "$4"\n')
            stand_in.chmod(0o755)
            told = take_testimonies(ranks, range(3), native=True)
        self.assertEqual([str(ranks.pids[0]), "", ""], [told[rank].native_stacks for rank in range(3)])


if __name__ == "__main__":
    run_tests()
