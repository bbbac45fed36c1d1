"""What nearly every rank does first, done once where ranks are forked from.

Python and torch fill caches at the first use of many things. A rank that finds them filled writes to fewer of the pages
that it shares with the others, and has to get a copy of each that it writes to.
"""

from __future__ import annotations

import os
from contextlib import suppress

import torch

from torch_testing_shim._assertions.comparison import ComparisonRules, differences
from torch_testing_shim._engine.collective_log import rehearse_logging
from torch_testing_shim._engine.loopback import loopback_interface

__all__ = ["rehearse"]


def rehearse() -> None:
    """Compares two small tensors, opens a stream, puts the kernels in place that log collectives, and looks for the
    loopback interface.

    It draws no random number, starts no thread and touches no accelerator, whatever device the test's module has made
    the default; and nothing comes of it where that module has put something of its own in torch's place.
    """
    with suppress(Exception):
        twos = torch.full((2,), 2.0, dtype=torch.float32, device="cpu")
        differences(torch.ones((2,), dtype=torch.float32, device="cpu") * 2, twos, ComparisonRules())
    with suppress(Exception):
        rehearse_logging()
    with suppress(Exception):
        open(os.devnull, "w", buffering=1, errors="backslashreplace").close()
    loopback_interface()
