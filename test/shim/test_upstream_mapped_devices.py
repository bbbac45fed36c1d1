"""`--map-device cuda=cpu`: tests that name cuda in every usual way, run on the CPU as a user would run them.

Whatever such a file makes really lies on the CPU, which is what each check looks at.
"""

from harness_samples import SampleTestCase

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import run_tests

FILE = """
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.testing._internal.common_distributed import MultiProcessTestCase, requires_nccl, skip_if_lt_x_gpu
from torch.testing._internal.common_utils import run_tests, TestCase, TEST_CUDA
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

DEVICE = torch.device("cuda")

class OneProcess(TestCase):
    def test_counts(self):
        self.assertTrue(TEST_CUDA and torch.cuda.is_available())
        self.assertEqual(torch.cuda.device_count(), 8)

    def test_what_is_made(self):
        made = [
            torch.zeros(2, device="cuda:1"), torch.tensor([1], device=DEVICE), torch.ones(2, device=0),
            torch.ones(2).cuda(), torch.ones(2).cuda(1, non_blocking=True), torch.ones(2).cuda(device="cuda:3"),
            torch.ones(2).to("cuda"), torch.ones(2).to(0), torch.ones(2).to(device="cuda"),
            torch.ones(2).to("cuda", torch.float64), torch.ones(2).new_zeros(2, device="cuda"),
            torch.empty(2, pin_memory=True), torch.ones(2).pin_memory(),
            nn.Linear(2, 2).cuda().weight, nn.Linear(2, 2).to("cuda:0").weight, nn.Linear(2, 2, device="cuda").weight,
        ]
        with torch.device("cuda"):
            made.append(torch.ones(1))
        self.assertEqual({tensor.device.type for tensor in made}, {"cpu"})
        self.assertEqual({tensor.device for tensor in made}, {DEVICE})
        self.assertEqual(torch.ones(2).to(torch.int64).dtype, torch.int64)
        self.assertEqual(torch.ones(2).to(torch.ones(1, dtype=torch.int8)).dtype, torch.int8)

    def test_other_devices_are_themselves(self):
        self.assertEqual(torch.ones(2, device="meta").device.type, "meta")
        self.assertEqual(torch.device("xpu", 1).type, "xpu")

    def test_seeds(self):
        drawn = []
        for seed in (torch.manual_seed, torch.cuda.manual_seed, torch.cuda.manual_seed_all):
            seed(7)
            drawn.append(torch.rand(3, device="cuda"))
        self.assertEqual(drawn, [drawn[0]] * 3)
        torch.seed()
        torch.cuda.seed_all()

    def test_no_generator(self):
        torch.Generator("cuda")

    def test_no_properties(self):
        torch.cuda.get_device_properties(0)

class Ranks(DTensorTestBase):
    world_size = 2

    @requires_nccl()
    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_meshes(self):
        for mesh in (init_device_mesh("cuda", (2,)), DeviceMesh("cuda", [0, 1])):
            self.assertEqual(mesh.device_type, "cpu")
            sharded = distribute_tensor(torch.arange(4.0).cuda(), mesh, [Shard(0)])
            self.assertEqual(sharded.full_tensor(), torch.arange(4.0))

    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_wrappers(self):
        ones = torch.ones(2, 4, device=self.rank)
        models = [
            FullyShardedDataParallel(nn.Linear(4, 4).cuda(self.rank), device_id=torch.cuda.current_device()),
            nn.parallel.DistributedDataParallel(nn.Linear(4, 4).cuda(), device_ids=[self.rank]),
            fully_shard(nn.Linear(4, 4, device="cuda")),
        ]
        for model in models:
            model(ones).sum().backward()
            self.assertTrue(all(p.grad is not None for p in model.parameters()))

    @skip_if_lt_x_gpu(9)
    def test_needs_too_many(self):
        pass

class OwnGroup(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_nccl(self):
        torch.cuda.set_device(self.rank)
        dist.init_process_group("cpu:gloo,cuda:nccl", store=dist.FileStore(self.file_name, 2), rank=self.rank,
                                world_size=2, device_id=torch.device("cuda", self.rank))
        total = torch.ones(1, device=f"cuda:{self.rank}")
        dist.all_reduce(total, group=dist.new_group(backend="nccl"))
        self.assertEqual(total.item(), 2)
        dist.barrier(device_ids=[self.rank])
        self.assertEqual(torch.cuda.current_device(), self.rank)

if __name__ == "__main__":
    run_tests()
"""

#: What torch says where it is not built with CUDA, finds no driver, or no device.
NO_DEVICE = "CUDA|NVIDIA"


class MappedDevices(SampleTestCase):
    def environment(self, **extra):
        """Without the machine's own devices, which would answer the calls that are not mapped."""
        return super().environment(CUDA_VISIBLE_DEVICES="", TORCH_TESTING_SHIM_DEVICE="", **extra)

    def run_file(self, *arguments, **extra):
        path = self.folder / "test_file.py"
        path.write_text(FILE)
        return self.run_command("-m", "torch_testing_shim", "--map-device", "cuda=cpu", str(path), *arguments, **extra)

    def test_a_file_that_names_cuda(self):
        run = self.run_file()
        for test in (
            "OneProcess.test_counts",
            "OneProcess.test_what_is_made",
            "OneProcess.test_other_devices_are_themselves",
            "OneProcess.test_seeds",
            "Ranks.test_meshes",
            "Ranks.test_wrappers",
            "OwnGroup.test_nccl",
        ):
            with self.subTest(test):
                self.assert_status(run, test, TestStatus.PASSED)
        reason = "needs at least 9 accelerators, found 8"
        self.assert_status(run, "Ranks.test_needs_too_many", TestStatus.SKIPPED, reason)
        self.assert_status(run, "OneProcess.test_no_generator", TestStatus.ERROR, NO_DEVICE)
        no_properties = run.entries["OneProcess.test_no_properties"]
        self.assertTrue(no_properties.status.is_failure, run.output)
        self.assertRegex(no_properties.reason, NO_DEVICE)
        self.assertIn("python -m torch_testing_shim --map-device cuda=cpu test_file.py OneProcess", run.output)

    def test_spawned_ranks_map_too(self):
        run = self.run_file("Ranks.test_meshes", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, "Ranks.test_meshes", TestStatus.PASSED)

    def test_wrong_maps(self):
        path = self.folder / "test_file.py"
        path.write_text(FILE)
        for text, message in (
            ("cuda", "--map-device 'cuda' maps no device type to another"),
            ("nothing=cpu", "--map-device nothing=cpu: torch knows no device type 'nothing'"),
        ):
            with self.subTest(text):
                run = self.run_command("-m", "torch_testing_shim", "--map-device", text, str(path))
                self.assertEqual(2, run.exit_code, run.output)
                self.assertIn(message, run.output)
                self.assertNotIn("Traceback", run.output)


if __name__ == "__main__":
    run_tests()
