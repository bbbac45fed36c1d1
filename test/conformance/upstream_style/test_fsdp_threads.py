"""FSDPTestMultiThread: fully_shard on threads, and subtests."""

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.common_fsdp import MLP, FSDPTestMultiThread, check_sharded_parity
from torch.testing._internal.common_utils import run_tests


class FSDPThreadsTest(FSDPTestMultiThread):
    @property
    def world_size(self):
        return 2

    def test_parameters_are_sharded(self):
        model, reference = MLP(4, torch.device("cpu")), MLP(4, torch.device("cpu"))
        with torch.no_grad():  # not drawn: threads share one generator, and each would have another model
            for number, parameter in enumerate(model.parameters()):
                parameter.copy_(torch.arange(parameter.numel()).view_as(parameter) + number)
        reference.load_state_dict(model.state_dict())
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        self.assertTrue(all(isinstance(p, DTensor) for p in model.parameters()))
        check_sharded_parity(self, reference, model)

    def test_subtests(self):
        self.run_subtests({"dim": [4, 8]}, self._test_width)

    def _test_width(self, dim):
        self.assertEqual(MLP(dim, torch.device("cpu")).in_proj.in_features, dim)


if __name__ == "__main__":
    run_tests()
