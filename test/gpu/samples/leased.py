"""A file of one rank on one device, which says when it held which device."""

import json
import os
import time

import torch
from here import DEVICE, kept

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

#: Long enough that two files at a time would meet.
HELD_SECONDS = 1.0


class Leased(DTensorTestBase):
    world_size = 1

    @with_comms
    def test_holds_a_device(self):
        began = time.time()
        index = torch.ones(1, device=DEVICE).device.index
        time.sleep(HELD_SECONDS)
        kept(f"held-{os.getpid()}.json").write_text(json.dumps([index, began, time.time()]))


if __name__ == "__main__":
    run_tests()
