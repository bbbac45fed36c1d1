"""The tests that run after faults in the same process, and find everything as it has to be.

After each fault a rank looks at the state of its process. That ranks meet costs as much as a fault does: most faults
need it themselves, so it is asked before the first one and after the last.
"""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import threading
from typing import Any

import torch
import torch.distributed as dist

from faults.faulty import Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


def _state() -> dict[str, object]:
    """State that a fault may have changed, and every rank starts with."""
    umask = os.umask(0o022)
    os.umask(umask)
    limits = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
    return {
        "folder": os.getcwd(),
        "umask": umask,
        "environment": {name: value for name, value in os.environ.items() if name != "TMPDIR"},
        "limits": [resource.getrlimit(limit) for limit in limits],
        "default type": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


#: As the test process has it before any fault.
_BEFORE = _state()


def check_state(test: Any) -> None:
    """Checks that a rank's process is as every rank's is when its test begins."""
    state = _state()
    for name, before in _BEFORE.items():
        test.assertTrue(state[name] == before, f"{name} is {state[name]}, and was {before}")
    test.assertEqual(set(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    test.assertIs(signal.SIG_DFL, signal.getsignal(signal.SIGTERM))
    test.assertIs(signal.default_int_handler, signal.getsignal(signal.SIGINT))
    test.assertEqual(os.getpid(), os.getpgrp())
    test.assertEqual([threading.main_thread()], threading.enumerate())
    test.assertEqual([], os.listdir(tempfile.gettempdir()))


class Untouched(Faulty, DTensorTestBase):
    world_size = 1

    def test_untouched(self):
        check_state(self)


class Meeting(Faulty, DTensorTestBase):
    world_size = 2

    @with_comms
    def test_untouched(self):
        check_state(self)
        total = torch.tensor([self.rank])
        dist.all_reduce(total)
        self.assertEqual(total, torch.tensor([1]))
