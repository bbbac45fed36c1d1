"""The accelerator of this machine, and what the samples ask of it. Every name of a device comes from torch."""

import os
import time
import unittest
from pathlib import Path

import torch

DEVICE = torch.accelerator.current_accelerator().type
MODULE = torch.get_device_module(DEVICE)


def not_here(reason):
    """Say that something cannot be tried on this device."""
    raise unittest.SkipTest(f"not here: {reason}")


def free_memory():
    """Bytes that no process holds on the first device."""
    ask = getattr(MODULE, "mem_get_info", None)
    if ask is None:
        not_here(f"{DEVICE} does not say how much of its memory is free")
    return ask()[0]


def kept(name):
    """A file that lives as long as the check that the sample belongs to."""
    return Path(os.environ["GPU_CHECK_FOLDER"], name)


def wait_until(condition, seconds=10.0):
    """Polls until the condition holds; False if it never did."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.1)
    return True
