import pytest
import torch
from distributed_class import DistributedClass
from shards import gather, shard


class TestShards(DistributedClass):
    world_size = 2

    @pytest.mark.parametrize("length", [7])
    def test_parts_make_the_whole(self, length):
        self.on_ranks("check_parts", length)

    def check_parts(self, length):
        whole = torch.arange(float(length))
        assert torch.equal(whole, gather(shard(whole), length))
