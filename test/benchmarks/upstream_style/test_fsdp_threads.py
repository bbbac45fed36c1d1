"""FSDPTestMultiThread: fully_shard on threads, with a patched all-gather."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.common_fsdp import MLP, FSDPTestMultiThread, check_sharded_parity, patch_all_gather
from torch.testing._internal.common_utils import run_tests


class FSDPThreadsTest(FSDPTestMultiThread):
    @property
    def world_size(self):
        return 2

    def test_parameters_are_sharded(self):
        torch.manual_seed(3)
        model, reference = MLP(4, torch.device("cpu")), MLP(4, torch.device("cpu"))
        reference.load_state_dict(model.state_dict())
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        self.assertTrue(all(isinstance(p, DTensor) for p in model.parameters()))
        check_sharded_parity(self, reference, model)

    def test_patched_all_gather(self):
        calls = []
        original = dist.all_gather_into_tensor

        def counting(*args, **kwargs):
            calls.append(1)
            return original(*args, **kwargs)

        # The patch is the process's, so that one thread makes it for all.
        with patch_all_gather(counting):
            dist.all_gather_into_tensor(torch.empty(2), torch.ones(1))
        self.assertGreaterEqual(len(calls), 1)

    def test_subtests(self):
        self.run_subtests({"dim": [4, 8]}, self._test_width)

    def _test_width(self, dim):
        self.assertEqual(MLP(dim, torch.device("cpu")).in_proj.in_features, dim)


if __name__ == "__main__":
    run_tests()
