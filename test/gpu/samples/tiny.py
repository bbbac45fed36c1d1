"""GPU_CHECK_TESTS tests that do next to nothing, of one rank each, on the harness that GPU_CHECK_HARNESS names."""

import importlib
import os

import torch
import torch.distributed as dist

HARNESS = os.environ["GPU_CHECK_HARNESS"]
run_tests = importlib.import_module(f"{HARNESS}.common_utils").run_tests
dtensor = importlib.import_module(f"{HARNESS}.distributed._tensor.common_dtensor")


class Tiny(dtensor.DTensorTestBase):
    @property
    def world_size(self):
        return 1


def body(self):
    assert self.device_type != "cpu"
    ones = torch.ones(4, device=self.device_type)
    dist.all_reduce(ones)
    self.assertEqual(ones.sum().item(), 4.0)


for number in range(int(os.environ["GPU_CHECK_TESTS"])):
    setattr(Tiny, f"test_{number:03d}", dtensor.with_comms(body))

if __name__ == "__main__":
    run_tests()
