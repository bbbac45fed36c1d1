"""Faults on the device, each followed by a look whether the memory has been given back.

Two ranks use the first device and meet over the CPU. Rank 1 is the one that goes wrong.
"""

import ctypes
import os
import signal

import torch
import torch.distributed as dist
from here import DEVICE, MODULE, free_memory, kept, not_here, wait_until
from torch.utils.dlpack import from_dlpack, to_dlpack

from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import run_tests

#: More than any device has.
TOO_MUCH = 1 << 50
#: Cycles that no kernel ends in: a day at some gigahertz.
ENDLESS = 10**14
#: An address at which no process has anything, aligned as tensors are.
NOWHERE = 0x10000
#: How much less memory than before may be free afterwards, in bytes: drivers keep some for themselves.
TOLERANCE = 64 << 20


def tensor_nowhere():
    """A tensor on the device whose memory is not there."""
    capsule = to_dlpack(torch.ones(1024, device=DEVICE))
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    managed = pointer_of(capsule, b"dltensor")  # which begins with the address of the data
    ctypes.c_void_p.from_address(managed).value = NOWHERE
    return from_dlpack(capsule)


class Faults(MultiProcessTestCase):
    @property
    def world_size(self):
        return 1 if self._testMethodName.endswith("_memory") else 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def meet(self):
        dist.init_process_group("gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=2)
        dist.barrier()

    def test_0_memory(self):
        kept("free").write_text(str(free_memory()))

    def test_assert(self):
        self.meet()
        if self.rank == 1:
            torch.zeros(4, device=DEVICE)[torch.tensor([9], device=DEVICE)]
            MODULE.synchronize()
        dist.barrier()

    def test_endless_kernel(self):
        sleep = getattr(MODULE, "_sleep", None)
        if sleep is None:
            not_here(f"torch has no kernel for {DEVICE} that sleeps")
        self.meet()
        if self.rank == 1:
            sleep(ENDLESS)
            MODULE.synchronize()
        dist.barrier()

    def test_illegal_address(self):
        self.meet()
        if self.rank == 1:
            tensor_nowhere().add_(1)
            MODULE.synchronize()
        dist.barrier()

    def test_killed(self):
        self.meet()
        held = torch.ones(1 << 28, device=DEVICE) if self.rank == 1 else None  # 1 GiB
        MODULE.synchronize()
        dist.barrier()
        if held is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    def test_too_much(self):
        self.meet()
        if self.rank == 1:
            torch.empty(TOO_MUCH, dtype=torch.uint8, device=DEVICE)
        dist.barrier()

    def test_z_in_order(self):
        self.meet()
        self.assertEqual(torch.ones(4, device=DEVICE).sum().item(), 4.0)
        dist.barrier()

    def _memory_given_back(self):
        free_memory()  # or else it cannot be tried
        before = int(kept("free").read_text())
        self.assertTrue(
            wait_until(lambda: free_memory() > before - TOLERANCE),
            f"{(before - free_memory()) >> 20} MiB have not been given back",
        )

    test_assert_then_memory = test_endless_kernel_then_memory = test_illegal_address_then_memory = _memory_given_back
    test_killed_then_memory = test_too_much_then_memory = _memory_given_back


if __name__ == "__main__":
    run_tests()
