import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from contrastive import contrastive_loss, gathered

ROWS = 8


@pytest.fixture(scope="module")
def pairs():
    """Embeddings of images and texts: one batch, which ranks share out."""
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, ROWS, 4, generator=generator)
    return images, texts


def part(batch, rank, world_size):
    return batch.chunk(world_size)[rank]


@pytest.mark.ranks([1, 2, 4])
def test_ranks_together_have_the_loss_of_one_batch(process_group, rank, world_size, pairs, agreed):
    loss = contrastive_loss(*(part(batch, rank, world_size) for batch in pairs))
    images, texts = pairs
    rows = F.cross_entropy(images @ texts.T, torch.arange(ROWS), reduction="none")
    with agreed():
        torch.testing.assert_close(loss, part(rows, rank, world_size).mean())


@pytest.mark.ranks(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gathered_in_the_order_of_ranks(process_group, rank, dtype):
    found = gathered(torch.full((1, 2), float(rank), dtype=dtype))
    assert found.tolist() == [[0, 0], [1, 1]]


@pytest.mark.ranks(2)
def test_loss_is_written_once(process_group, rank, shared_tmp_path, pairs):
    loss = contrastive_loss(*(part(batch, rank, 2) for batch in pairs))
    if rank == 0:
        (shared_tmp_path / "loss").write_text(str(loss.item()))
    dist.barrier()
    assert [path.name for path in shared_tmp_path.iterdir()] == ["loss"]
