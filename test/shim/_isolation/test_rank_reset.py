"""A reused rank puts back the state of its process, one part after the other; what cannot be put back is said."""

import gc
import os
import resource
import signal
import sys
import time
import weakref
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

from torch_testing_shim._isolation.rank_reset import RankReset
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases, forked

CASES = Cases()


@CASES.changes(lambda: [dict(os.environ), time.timezone])
def environment():
    os.environ.update(OF_A_TEST="1", TZ="UTC+5")
    time.tzset()
    del os.environ["PATH"]


@CASES.changes(lambda: [type(os.environ).__name__, os.environ.get("OF_A_TEST")])
def environment_replaced():
    os.environ = {**os.environ, "OF_A_TEST": "1"}  # noqa: B003


@CASES.changes(os.getcwd)
def folder():
    os.chdir("/")


@CASES.changes(lambda: os.umask(0o022))
def umask():
    os.umask(0o077)


@CASES.changes(lambda: [resource.getrlimit(resource.RLIMIT_CORE), os.sched_getaffinity(0), list(sys.argv)])
def limits():
    resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    sys.argv.append("--of-a-test")


def leave_a_cycle():
    """Return whether an object that only refers to itself is there before the reset, and after it."""
    reset = RankReset.of_this_process()
    gc.disable()
    cycle = type("Cycle", (), {})()
    cycle.itself = cycle
    left = weakref.ref(cycle)
    del cycle
    found = [left() is not None]
    reset.restore()
    return [*found, left() is not None]


def lose_a_handler_of_c():
    """Return what is said where a test takes a signal that a handler of C had."""
    import faulthandler

    faulthandler.register(signal.SIGUSR2, sys.__stderr__)
    reset = RankReset.of_this_process()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return reset.restore()


def fail_to_destroy():
    """Return what is said where a process group cannot be destroyed, and whether the rest is put back."""
    reset = RankReset.of_this_process()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.set_default_dtype(torch.float64)
    with mock.patch.object(dist, "destroy_process_group", side_effect=RuntimeError("no")):
        said = reset.restore()
    return said, str(torch.get_default_dtype())


class Restore(TestCase):
    def test_puts_the_process_back(self):
        self.assertEqual({}, CASES.run_forked())

    def test_collects_what_only_cycles_hold(self):
        self.assertEqual([True, False], forked(leave_a_cycle))

    def test_says_what_is_lost(self):
        self.assertEqual(["handlers of signals: could not be put back"], forked(lose_a_handler_of_c))

    def test_goes_on_after_a_failure(self):
        said, dtype = forked(fail_to_destroy)
        self.assertEqual(["process groups: could not be put back (RuntimeError: no)"], said)
        self.assertEqual("torch.float32", dtype)


if __name__ == "__main__":
    run_tests()
