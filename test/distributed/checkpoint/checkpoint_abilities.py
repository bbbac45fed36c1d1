"""Skips of what the installed torch's checkpoints cannot do. Torch is asked, not its version."""

import functools
import inspect
import logging
import unittest
from unittest import mock

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import staging
from torch.distributed.checkpoint.utils import _DistWrapper

__all__ = ["needs_argument", "needs_pinned_memory", "needs_staged_copies", "needs_subgroups", "without_log"]


def needs_argument(name, call=dcp.save):
    """Skip a test where a function or class of torch lacks an argument."""
    return unittest.skipUnless(
        name in inspect.signature(call).parameters, f"this torch's {call.__name__} has no {name}"
    )


def needs_pinned_memory(test):
    """Skip a test, in its ranks, where no memory can be pinned: torch pins it for an accelerator."""

    @functools.wraps(test)
    def wrapper(self):
        try:
            torch.empty(1).pin_memory()
        except RuntimeError as error:  # NotImplementedError is one
            self.skipTest(f"no memory can be pinned: {error}")
        test(self)

    return wrapper


needs_staged_copies = unittest.skipIf(
    "_offload_state_dict_to_cpu" in inspect.getsource(staging.BlockingAsyncStager.stage),
    "this torch stages a tensor of the CPU without a copy",
)

needs_subgroups = unittest.skipUnless(
    "global_coordinator_rank" in inspect.getsource(_DistWrapper),
    "this torch's checkpoints need rank 0 in each process group",
)

#: Keeps the root logger quiet during a test. Torch logs a traceback of each metadata file that it does not find.
without_log = mock.patch.object(logging.getLogger(), "disabled", True)
