"""distributed_test.DistributedTest: torch's own suite of collectives, with a backend and a world size from outside."""

import os

os.environ["BACKEND"] = "gloo"
os.environ["WORLD_SIZE"] = "2"

from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed.distributed_test import DistributedTest, TestDistBackend

WANTED = {
    "test_all_gather_object_default_pg",
    "test_all_reduce_sum",
    "test_broadcast",
    "test_ddp_has_finalized",
    "test_DistributedDataParallelCPU",
    "test_gather_object",
    "test_get_backend",
    "test_nccl_high_priority_stream",
    "test_send_recv_any_source",
}


class TorchsSuite(TestDistBackend, DistributedTest._DistTestBase):
    def setUp(self):
        super().setUp()
        self._spawn_processes()


for name in [name for name in dir(TorchsSuite) if name.startswith("test") and name not in WANTED]:
    setattr(TorchsSuite, name, None)

if __name__ == "__main__":
    run_tests()
