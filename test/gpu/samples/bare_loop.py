"""The same tests as `tiny.py` on no harness at all: a fork for each, and a look at how it ended."""

import os
import sys
import tempfile
import time
import traceback

import torch
import torch.distributed as dist


def body(path):
    device = torch.accelerator.current_accelerator().type
    torch.accelerator.set_device_index(0)
    backend = dist.get_default_backend_for_device(device)
    dist.init_process_group(backend, init_method=f"file://{path}", rank=0, world_size=1)
    ones = torch.ones(4, device=device)
    dist.all_reduce(ones)
    assert ones.sum().item() == 4.0
    dist.barrier(device_ids=[0])
    dist.destroy_process_group()


tests = int(os.environ["GPU_CHECK_TESTS"])
began = time.perf_counter()
for _ in range(tests):
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if pid == 0:
            try:
                body(f"{folder}/store")
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit(1)
print(f"Ran {tests} tests in {time.perf_counter() - began:.3f}s")
