"""torch_testing_shim._isolation.process_flags"""

import ctypes
import sys
import unittest
from pathlib import Path

from torch_testing_shim._isolation.rank_reset import RankReset
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases, forked

CASES = Cases()
PRCTL = ctypes.CDLL(None).prctl
OOM_SCORE = Path("/proc/self/oom_score_adj")


def written(number):
    value = ctypes.c_int()
    PRCTL(number, ctypes.byref(value), 0, 0, 0)
    return value.value


@CASES.changes(lambda: PRCTL(3, 0, 0, 0, 0))
def dumpable():
    PRCTL(4, 0, 0, 0, 0)


@CASES.changes(lambda: PRCTL(30, 0, 0, 0, 0))
def timer_slack():
    PRCTL(29, 12345, 0, 0, 0)


@CASES.changes(lambda: written(2))
def signal_at_the_parents_death():
    PRCTL(1, 12, 0, 0, 0)


@CASES.changes(lambda: written(37))
def adopts_orphans():
    PRCTL(36, 1 - written(37), 0, 0, 0)


@CASES.changes(OOM_SCORE.read_text)
def oom_score():
    OOM_SCORE.write_text("500")


def lose_privileges():
    """Return what is said of a flag that can only be set."""
    reset = RankReset.of_this_process()
    PRCTL(38, 1, 0, 0, 0)
    return reset.restore()


@unittest.skipIf(sys.platform != "linux", "prctl is Linux's")
class ProcessFlags(TestCase):
    def test_are_put_back(self) -> None:
        self.assertEqual({}, CASES.run_forked())

    def test_one_that_cannot_be_put_back_is_said(self) -> None:
        self.assertEqual(["the flag PR_NO_NEW_PRIVS: could not be put back"], forked(lose_privileges))


if __name__ == "__main__":
    run_tests()
