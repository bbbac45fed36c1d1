"""Dynamo's test cases for several ranks, pretended and real ones, and compiled models with collectives."""

import contextlib
import unittest

import torch
import torch._dynamo
import torch._dynamo.testing
import torch.distributed as dist
import torch.nn as nn
from torch._dynamo.utils import counters
from torch.distributed._functional_collectives import all_reduce
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.testing._internal.common_distributed import (
    DynamoDistributedMultiProcTestCase,
    DynamoDistributedSingleProcTestCase,
    MultiProcessTestCase,
    _dynamo_dist_per_rank_init,
    requires_accelerator_dist_backend,
    skip_if_lt_x_gpu,
)
from torch.testing._internal.common_fsdp import FSDPTestMultiThread, compiled_fsdp_test
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.testing._internal.inductor_utils import HAS_GPU


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        return self.layers(x)


class PretendedRanksTest(torch._dynamo.test_case.TestCase):
    @contextlib.contextmanager
    def pretended(self, rank=0, world_size=4):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
        yield
        dist.destroy_process_group()

    def test_collective_is_in_the_graph(self):
        with self.pretended():
            counting = torch._dynamo.testing.CompileCounter()
            compiled = torch.compile(lambda x: all_reduce(x + 1, "sum", "0"), backend=counting, fullgraph=True)
            self.assertEqual(compiled(torch.ones(2)).shape, (2,))
            self.assertEqual(counting.frame_count, 1)

    @parametrize("rank", [0, 3])
    def test_ranks(self, rank):
        with self.pretended(rank=rank):
            self.assertEqual(dist.get_rank(), rank)

    def test_shards(self):
        with self.pretended(world_size=2):
            mesh = dist.init_device_mesh("cpu", (2,))
            sharded = distribute_tensor(torch.ones(4), mesh, [Shard(0)])
            doubled = torch.compile(lambda x: x * 2, backend="aot_eager")(sharded)
            self.assertIsInstance(doubled, DTensor)
            self.assertEqual(doubled.to_local(), torch.full((2,), 2.0))

    @unittest.skipIf(not HAS_GPU, "inductor needs one")
    def test_on_gpu(self):
        self.fail("there is none")

    def test_wrong(self):
        with self.pretended():
            pass
        self.assertTrue(dist.is_initialized())


class DynamoRanksTest(DynamoDistributedMultiProcTestCase):
    @property
    def world_size(self):
        return 2

    def test_pretended_in_ranks(self):
        with _dynamo_dist_per_rank_init(self.rank, self.world_size, fake_pg=True):
            self.assertEqual(dist.get_rank(), self.rank)
            self.assertEqual(len(counters), 0)

    @skip_if_lt_x_gpu(2)
    @requires_accelerator_dist_backend(["nccl", "xccl"])
    def test_on_accelerators(self):
        with _dynamo_dist_per_rank_init(self.rank, self.world_size):
            self.fail("there are none")


class CompiledRanksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_ddp(self):
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        model = torch.compile(DDP(Product()), backend="aot_eager")
        model(torch.ones(1, 4) * self.rank).sum().backward()
        gradient = model.module.layers[2].bias.grad
        gathered = [torch.empty_like(gradient) for _ in range(self.world_size)]
        dist.all_gather(gathered, gradient)
        self.assertEqual(gathered[0], gathered[1])
        dist.destroy_process_group()


@requires_accelerator_dist_backend(["nccl", "xccl"])
class DynamoOneProcessTest(DynamoDistributedSingleProcTestCase):
    def test_group(self):
        self.assertEqual(dist.get_world_size(), 1)


class CompiledThreadsTest(FSDPTestMultiThread):
    world_size = 2

    @compiled_fsdp_test(compile_compute_on_module=Product)
    def test_compute(self):
        model = Product()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
        fully_shard(model)
        self.assertEqual(model(torch.ones(1, 4)).shape, (1, 2))


instantiate_parametrized_tests(PretendedRanksTest)

if __name__ == "__main__":
    from torch._dynamo.test_case import run_tests as run_dynamos

    assert run_dynamos is not None
    run_tests()
