"""VerifyStateDictMixin beside a base class with ranks: a sharded model's state against a plain model's."""

import copy

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.common_dist_composable import CompositeParamModel
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch.testing._internal.distributed.common_state_dict import VerifyStateDictMixin


class StateDictTest(DTensorTestBase, VerifyStateDictMixin):
    world_size = 2

    def train(self, model):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return optimizer

    def pair(self):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        sharded = copy.deepcopy(plain)
        fully_shard(sharded, mesh=self.build_device_mesh())
        return plain, sharded

    @with_comms
    def test_model(self):
        plain, sharded = self.pair()
        self.train(plain), self.train(sharded)
        self._verify_msd(plain.state_dict(), get_model_state_dict(sharded))

    @with_comms
    def test_optimizer(self):
        plain, sharded = self.pair()
        optimizer, of_sharded = self.train(plain), self.train(sharded)
        self._verify_osd(plain, optimizer, optimizer.state_dict(), get_optimizer_state_dict(sharded, of_sharded))

    @with_comms
    def test_another_state_is_noticed(self):
        plain, sharded = self.pair()
        self.train(sharded)
        self._verify_msd(plain.state_dict(), get_model_state_dict(sharded))

    @with_comms
    def test_composite_model(self):
        model = CompositeParamModel(torch.device("cpu"))
        self.assertEqual(model(torch.ones(1, 100)).shape, torch.Size([1, 100]))


if __name__ == "__main__":
    run_tests()
