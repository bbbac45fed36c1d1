"""Ranks that share a device: four on one, which is simulated. The messages are gloo's own.

The sample backend's own process groups serve several ranks on a device, and gloo does not serve it at all: what is
shown is that nothing of a device goes to a backend but by the host's memory. What a real device's memory does, the
sample cannot show.
"""

import json
import shutil
import sys
from pathlib import Path

from torch_testing_shim._engine.shared_devices import gloo_backend
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT
from quartz_samples import InstalledQuartzTestCase

TESTS = """
from torch.distributed.tensor import Shard, distribute_tensor
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest, skip_if_no_gpu
from torch_testing_shim.common_fsdp import FSDPTest
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase, with_comms as with_sharded_comms
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase, DTensorOpTestBase

GLOO = "gloo"
BOUND = []
torch.accelerator.set_device_index = BOUND.append

def quartz(*values):
    return torch.tensor(values, dtype=torch.float32, device="quartz")

class Collectives(DTensorTestBase):
    def init_pg(self, *args, **kwargs):
        super().init_pg(*args, **kwargs)
        self.assertEqual(([2], 4, GLOO, "quartz"), (BOUND, dist.get_world_size(), dist.get_backend(), self.device_type))
        self.peer = self.rank ^ 1

    @skip_if_lt_x_gpu(4)
    @with_comms
    def test_in_place(self):
        mine = quartz(self.rank)
        dist.all_reduce(mine)
        self.assertEqual([6.0], mine.tolist())
        work = dist.broadcast(mine, 1, async_op=True)
        work.wait()
        dist.reduce(mine, 0)
        self.assertEqual([24.0 if self.rank == 0 else mine.item()], mine.tolist())
        dist.barrier()
        found = [None] * 4
        dist.all_gather_object(found, self.rank)
        self.assertEqual([0, 1, 2, 3], found)

    @with_comms
    def test_from_many_to_many(self):
        whole = quartz(0, 0, 0, 0)
        part = whole[self.rank : self.rank + 1]
        part += self.rank
        dist.all_gather_single(whole, part) if hasattr(dist, "all_gather_single") else \
            dist.all_gather_into_tensor(whole, part)
        self.assertEqual([0.0, 1.0, 2.0, 3.0], whole.tolist())
        parts = [quartz(9) for _ in range(4)]
        dist.all_gather(parts, quartz(self.rank))
        self.assertEqual([0.0, 1.0, 2.0, 3.0], [part.item() for part in parts])
        scatter = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)
        scatter(whole[:1], whole)  # into a part of what it is made of
        self.assertEqual([4.0 * self.rank], whole[:1].tolist())
        turned = quartz(0, 0, 0, 0)
        dist.all_to_all_single(turned, quartz(*[10 * self.rank + rank for rank in range(4)]))
        self.assertEqual([10.0 * rank + self.rank for rank in range(4)], turned.tolist())
        dist.gather(quartz(self.rank), parts if self.rank == 0 else None)
        mine = quartz(9)
        dist.scatter(mine, parts if self.rank == 0 else None)
        self.assertEqual([float(self.rank)], mine.tolist())

    @with_comms
    def test_from_one_to_one(self):
        got = quartz(9, 9)
        coming = dist.irecv(got, self.peer)
        going = dist.isend(quartz(self.rank, self.rank), self.peer)
        going.wait()
        dist.barrier()
        time.sleep(0.1)
        self.assertEqual([9.0, 9.0], got.tolist())  # what has come lies in the host's memory
        coming.wait()
        self.assertEqual([float(self.peer)] * 2, got.tolist())
        if self.rank % 2:
            dist.send(quartz(5, self.rank), self.peer)
        else:
            self.assertEqual(self.peer, dist.recv(got))
            self.assertEqual([5.0, float(self.peer)], got.tolist())
        dist.barrier()  # before the next messages may be taken for these
        ring = [dist.P2POp(dist.irecv, got, (self.rank - 1) % 4),
                dist.P2POp(dist.isend, quartz(self.rank, 0), (self.rank + 1) % 4)]
        for work in dist.batch_isend_irecv(ring):
            work.wait()
        self.assertEqual([(self.rank - 1.0) % 4, 0.0], got.tolist())

    @with_comms(backend="quartzlink")
    def test_groups_of_any_name(self):
        for backend, got in ((None, GLOO), ("quartzlink", GLOO), ("quartz:quartzlink", "cpu:gloo,quartz:gloo")):
            group = dist.new_group([self.rank & 2, self.rank | 1], backend=backend, use_local_synchronization=True)
            mine = quartz(self.rank)
            dist.all_reduce(mine, group=group)
            self.assertEqual((got, [2.0 * (self.rank & 2) + 1]), (dist.get_backend(group), mine.tolist()))

    @with_comms
    def test_gradients(self):
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1, device="quartz"))
        model(torch.full((1, 2), float(self.rank), device="quartz")).sum().backward()
        self.assertEqual([[1.5, 1.5]], model.module.weight.grad.tolist())

    @with_comms
    def test_sharded_tensors(self):
        whole = torch.arange(8.0, device="quartz").reshape(4, 2)
        sharded = distribute_tensor(whole, self.build_device_mesh(), [Shard(0)])
        self.assertEqual((1, 2), tuple(sharded.to_local().shape))
        self.assertEqual((sharded + sharded).full_tensor(), whole * 2)

    @with_comms
    def test_fails(self):
        self.assertEqual(0, self.rank)

class FSDP(FSDPTest):
    def test_it(self):
        self.assertEqual(([2], 4, GLOO), (BOUND, dist.get_world_size(), dist.get_backend()))

class Kept(DTensorContinuousTestBase):
    world_size = 3

    def test_it(self):
        self.assertEqual(([2], 3, GLOO, "quartz"), (BOUND, dist.get_world_size(), dist.get_backend(), self.device_type))

class KeptByDefault(MultiProcContinuousTest):
    def test_it(self):
        self.assertEqual((GLOO, "quartz:2", 4), (dist.get_backend(), str(self.device), dist.get_world_size()))

class Sharded(ShardedTensorTestBase):
    @with_sharded_comms(init_rpc=False)
    def test_it(self):
        self.assertEqual(([2], GLOO), (BOUND, dist.get_backend()))

class Distributed(DistributedTestBase):
    @skip_if_no_gpu
    def test_it(self):
        self.create_pg("quartz")
        own = torch.get_default_device()
        torch.set_default_device(None)
        self.assertEqual(("quartz:2", GLOO), (str(own), dist.get_backend()))

class Threads(DTensorOpTestBase):
    def test_it(self):
        self.assertEqual(("quartz", 4), (self.device_type, dist.get_world_size()))

class Alone(DTensorTestBase):
    world_size = 1

    @with_comms
    def test_it(self):
        self.assertEqual("quartzlink", dist.get_backend())
"""
SMALL = """
class Two(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_one(self):
        self.assertEqual("gloo", dist.get_backend())

    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_other(self):
        self.assertEqual("gloo", dist.get_backend())
"""


class OnOneDevice(InstalledQuartzTestCase):
    def test_all_kinds_of_ranks(self):
        shared = {"TORCH_TESTING_SHIM_DEVICE_INDICES": "2", "TORCH_TESTING_SHIM_SHARE_DEVICES": "1"}
        run = self.run_sample(TESTS, "--save-xml", "own.xml", **shared)
        failed = self.assert_status(run, "Collectives.test_fails", TestStatus.FAILED, "^rank [123] failed")
        self.assertRegex(failed.detail, "\n    .*TORCH_TESTING_SHIM_SHARE_DEVICES=1 .*python test_sample.py")
        self.assertEqual(14, len(run.entries))
        own_xml = (self.folder / "own.xml").read_text()
        self.assertEqual(13, own_xml.count("<system-out>note: shared: "), own_xml)
        for test, entry in run.entries.items():
            ranks = {"Kept.test_it": 3}.get(test, 4)
            self.assertEqual((f"shared: {ranks} ranks on 1 quartz",) if "Alone" not in test else (), entry.notes, test)
            if test != "Collectives.test_fails":
                self.assert_status(run, test, TestStatus.PASSED)

    def test_by_run_test(self):
        (self.folder / "test").mkdir()
        shutil.copy(ROOT / "run_test.py", self.folder)
        self.write_sample(SMALL, "test/test_sample.py")
        one = {"TORCH_TESTING_SHIM_DEVICE_INDICES": "1", "TORCH_TESTING_SHIM_START_METHOD": "spawn"}
        reports = ("--save-xml", "xml", "--report-html", "page.html")
        run = self.run_command(
            "run_test.py", "--share-devices", "test_sample", "--json-lines", "lines", *reports, **one
        )
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(1, run.output.count("NOTE  shared: 2 ranks on 1 quartz\n"), run.output)
        lines = [json.loads(line) for line in (self.folder / "lines").read_text().splitlines()]
        notes = [line["notes"] for line in lines if line.get("test", "").startswith("Two.") and "notes" in line]
        mark = "shared: 2 ranks on 1 quartz"
        self.assertEqual([[mark], [mark]], notes)
        xml = (self.folder / "xml/test_sample/TEST-test_sample.xml").read_text()
        self.assertEqual(2, xml.count(f"<system-out>note: {mark}"), xml)
        self.assertIn(f"2 &times; {mark}", (self.folder / "page.html").read_text())


class Backends(TestCase):
    def test_the_devices_part_is_gloos(self):
        for asked, got in (
            ("nccl", "gloo"),
            ("undefined", "gloo"),
            ("cpu:gloo,cuda:nccl", "cpu:gloo,cuda:gloo"),
            ("cuda:nccl", "cpu:gloo,cuda:gloo"),
            ("cpu:mpi,cuda:nccl", "cpu:mpi,cuda:gloo"),
            ("gloo", "gloo"),
            ("fake", "fake"),
            ("cpu:gloo", "cpu:gloo"),
            ("cpu:gloo,xpu:xccl", "cpu:gloo,xpu:xccl"),
        ):
            self.assertEqual(got, gloo_backend("cuda", asked))


if __name__ == "__main__":
    run_tests()
