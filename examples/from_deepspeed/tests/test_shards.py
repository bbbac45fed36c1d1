import pytest
import torch
from shards import gather, shard


@pytest.mark.ranks([2, 3])
class TestShards:
    @pytest.mark.parametrize("length", [7, 12])
    def test_parts_make_the_whole(self, process_group, length):
        whole = torch.arange(float(length))
        assert torch.equal(whole, gather(shard(whole), length))

    def test_the_last_rank_has_the_padding(self, process_group, rank, world_size):
        part = shard(torch.ones(world_size + 1))
        assert part.tolist() == ([1, 1] if rank < (world_size + 1) // 2 else [1, 0] if rank == 1 else [0, 0])
