"""`--map-device cuda=cpu`: tests that name cuda in every usual way, run on the CPU as a user would run them.

Whatever such a file makes really lies on the CPU, which is what each check looks at.
"""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

FILE = """
import functools
import io
import multiprocessing
import pickle
import threading
from datetime import timedelta
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.fsdp import (
    CPUOffload, FullStateDictConfig, FullyShardedDataParallel, StateDictType, fully_shard,
)
from torch.distributed.tensor import Shard, distribute_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._triton import has_triton
from torch.utils.data import DataLoader, Dataset
from torch.testing._internal.common_cuda import PLATFORM_SUPPORTS_FUSED_ATTENTION
from torch.testing._internal.common_distributed import (
    HAS_ACCELERATOR, MultiProcContinuousTest, MultiProcessTestCase, MultiThreadedTestCase,
    requires_accelerator_dist_backend, requires_nccl, skip_if_lt_x_gpu,
)
from torch.testing._internal.common_utils import run_tests, TestCase, TEST_CUDA
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

DEVICE = torch.device("cuda")

def where_cuda_is():
    return torch.ones(1, device="cuda").device.type

class OnCuda(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.ones(2, device="cuda")

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
        ones = torch.ones(2)
        self.assertIs(ones, ones.cuda(1))
        self.assertIs(ones, ones.to(1))
        self.assertEqual((torch.float64, "torch.FloatTensor"), (ones.to("cuda", torch.float64).dtype, ones.type()))
        self.assertEqual(torch.float64, ones.type("torch.cuda.DoubleTensor").dtype)

    def test_other_devices_are_themselves(self):
        self.assertEqual(torch.ones(2, device="meta").device.type, "meta")
        self.assertEqual(torch.device("xpu", 1).type, "xpu")

    def test_devices_are_equal_to_those_of_tensors(self):
        made = torch.ones(1, device="cuda:3")
        self.assertEqual(torch.device("cuda:3").index, 3)
        self.assertEqual(torch.device(2).index, 2)
        self.assertIs(type(torch.device("cuda", 1)), torch.device)
        self.assertTrue(made.is_cuda and made.device == torch.device("cuda:3"))
        self.assertFalse(made.device != torch.device("cuda:3"))
        self.assertNotEqual(torch.device("cuda:3"), torch.device("cuda:2"))
        self.assertEqual({torch.device("cuda", 1): 5}[made.device], 5)
        self.assertEqual(pickle.loads(pickle.dumps(torch.device("cuda:1"))).index, 1)
        with self.assertRaisesRegex(RuntimeError, "Expected one of"):
            torch.device("nothing")

    def test_seeds(self):
        drawn = []
        for seed in (torch.manual_seed, torch.cuda.manual_seed, torch.cuda.manual_seed_all):
            seed(7)
            drawn.append(torch.rand(3, device="cuda"))
        self.assertEqual(drawn, [drawn[0]] * 3)
        torch.seed()
        torch.cuda.seed_all()
        self.assertEqual(torch.cuda.initial_seed(), torch.initial_seed())
        states = torch.cuda.get_rng_state_all()
        with torch.random.fork_rng(devices=[0], device_type="cuda"):
            forked = torch.rand(2, device="cuda")
        self.assertEqual(forked, torch.rand(2, device="cuda"))
        torch.cuda.set_rng_state_all(states)
        self.assertEqual(forked, torch.rand(2, device="cuda"))
        self.assertEqual(torch.Generator("cuda:1").manual_seed(3).initial_seed(), 3)
        self.assertEqual(8, len(torch.cuda.default_generators))

    def test_current_device(self):
        self.assertEqual((0, 0), (torch.cuda.current_device(), torch.accelerator.current_device_index()))
        torch.cuda.set_device("cuda:1")
        torch.accelerator.set_device_index(torch.accelerator.current_device_index() + 1)
        self.assertEqual(2, torch.cuda.current_device())
        chosen = getattr(torch.accelerator, "device_index", torch.cuda.device)  # torch 2.6 has the second alone
        with torch.cuda.device(torch.device("cuda", 5)), chosen(6), torch.cuda.device(-1):
            self.assertEqual(6, torch.cuda.current_device())
        self.assertEqual(2, torch.cuda.current_device())
        with self.assertRaisesRegex(RuntimeError, "cuda 8 of 8 simulated devices"):
            torch.cuda.set_device(8)

    def test_current_device_again(self):
        self.test_current_device()  # a test starts with the first device, whatever the one before has chosen

    def test_streams_and_events(self):
        stream, start, end = torch.Stream(device="cuda"), torch.cuda.Event(enable_timing=True), torch.Event("cuda")
        default = torch.cuda.current_stream()
        self.assertIsInstance(stream, torch.cuda.Stream)
        with torch.cuda.stream(stream):
            stream.wait_stream(default)
            start.record()
            self.assertIs(stream, torch.accelerator.current_stream())
        self.assertIs(default, torch.cuda.current_stream())
        inner = torch.cuda.Stream(device="cuda:1", priority=-1)
        with stream:
            with inner:
                self.assertIs(inner, torch.cuda.current_stream())
            self.assertIs(stream, torch.cuda.current_stream())
        self.assertNotEqual(stream, inner)
        with inner:
            self.assertEqual((1, inner.device), (torch.cuda.current_device(), torch.device("cuda:1")))
        self.assertEqual((0, default), (torch.cuda.current_device(), torch.cuda.current_stream()))
        self.assertEqual((-1, 0), (inner.priority, torch.cuda.Stream.priority_range()[0]))
        self.assertEqual(stream.cuda_stream, stream.stream_id)
        torch.ones(1, device="cuda").record_stream(stream)
        with self.assertRaisesRegex(RuntimeError, "both events must be recorded"):
            start.elapsed_time(end)
        stream.record_event(end)
        self.assertGreater(start.elapsed_time(end), 0.0)
        self.assertTrue(end.query() and stream.query())

    def test_accelerator(self):
        self.assertEqual((True, 8), (torch.accelerator.is_available(), torch.accelerator.device_count()))
        self.assertEqual(torch.accelerator.current_accelerator(), torch.device("cuda"))
        self.assertIs(torch.get_device_module(), torch.cuda)
        self.assertIs(torch.get_device_module("cuda"), torch.cuda)
        self.assertIs(torch.get_device_module("mps"), torch.mps)
        for name in ("memory_allocated", "empty_cache"):
            if hasattr(torch.accelerator, name):  # torch 2.6 has neither
                self.assertFalse(getattr(torch.accelerator, name)())
        torch.accelerator.synchronize()

    def test_casts(self):
        model, ones = nn.Linear(2, 2, device="cuda"), torch.ones(2, 2, device="cuda")
        for cast, scaler in (
            (torch.cuda.amp.autocast(), torch.cuda.amp.GradScaler()),
            (torch.autocast("cuda"), torch.amp.GradScaler("cuda")),
        ):
            with cast:
                self.assertEqual((True, torch.float16), (torch.is_autocast_enabled(), torch.get_autocast_dtype("cuda")))
                self.assertEqual(torch.float16, model(ones).dtype)
            optimizer = torch.optim.SGD(model.parameters())
            scaler.scale(model(ones).sum()).backward()
            scaler.step(optimizer)
            self.assertTrue(scaler.is_enabled())
        with torch.autocast("cuda", torch.bfloat16), torch.autocast("cuda"):
            self.assertEqual(torch.bfloat16, model(ones).dtype)
            self.assertEqual(torch.bfloat16, torch.get_autocast_gpu_dtype())
        self.assertFalse(torch.is_autocast_enabled())
        self.assertEqual(torch.float16, torch.get_autocast_dtype("cuda"))

    def test_files(self):
        stream = io.BytesIO()
        torch.save(torch.ones(2), stream)
        for place in ("cuda", "cuda:1", torch.device("cuda:1"), {"cpu": "cuda:0"}, lambda storage, _: storage.cuda()):
            stream.seek(0)
            self.assertEqual(torch.load(stream, map_location=place), torch.ones(2))

    def test_pinned_memory(self):
        plain, pinned = torch.ones(2), torch.ones(2).pin_memory()
        made = torch.empty(2, pin_memory=True)
        self.assertEqual((False, True, True), (plain.is_pinned(), pinned[1:].is_pinned(), made.is_pinned()))
        self.assertIs(pinned, pinned.pin_memory())
        self.assertEqual(plain, pinned)
        self.assertFalse((made + 1).is_pinned())
        loaded = list(DataLoader(OnCuda(), num_workers=1, pin_memory=True))
        self.assertEqual([(2.0, True)] * 2, [(each.sum().item(), each.is_pinned()) for each in loaded])

    def test_properties(self):
        properties = torch.cuda.get_device_properties(0)
        self.assertEqual(("simulated cuda (cpu)", 6), (properties.name, properties.major))
        with self.assertRaisesRegex(AttributeError, "'uuid' is not known of the device 'simulated cuda"):
            properties.uuid
        self.assertEqual((False, False), (has_triton(), bool(PLATFORM_SUPPORTS_FUSED_ATTENTION)))

    def test_memory_and_the_runtime(self):
        free, whole = torch.cuda.mem_get_info()
        self.assertGreater(whole, free)
        self.assertEqual(0, torch.cuda.memory_stats()["num_ooms"])
        self.assertEqual("simulated cuda (cpu): no memory of its own", torch.cuda.memory_summary())
        self.assertEqual(0, torch.cuda.cudart().cudaHostRegister(0, 8, 0))
        with self.assertRaisesRegex(NotImplementedError, "torch.cuda.cudart...cudaMalloc: --map-device cuda=cpu"):
            torch.cuda.cudart().cudaMalloc(8)
        torch.cuda.set_sync_debug_mode("warn")
        self.assertEqual(1, torch.cuda.get_sync_debug_mode())

    def test_refusals(self):
        for name in ("CUDAGraph", "graph", "utilization", "tunable.enable", "MemPool", "memory._snapshot"):
            call = functools.reduce(getattr, name.split("."), torch.cuda)
            sentence = f"^torch.cuda.{name}: --map-device cuda=cpu does not know this call$"
            with self.assertRaisesRegex(NotImplementedError, sentence):
                call()
        self.assertFalse(isinstance(1, torch.cuda.CUDAGraph))
        with self.assertRaisesRegex(NotImplementedError, "know a call in 'torch.cuda._lazy_init..  # unknown'"):
            torch.cuda._lazy_init()  # unknown
        with self.assertRaisesRegex(RuntimeError, "cuda 8 of 8 simulated devices"):
            torch.ones(1, device="cuda:8")
        with self.assertRaisesRegex(AttributeError, "'_cuda_of_no_build': --map-device cuda=cpu does not know this"):
            torch._C._cuda_of_no_build()
        self.assertTrue(torch._C._cuda_cudaCachingAllocator_is_enabled())

    def test_profiles(self):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            torch.ones(1, device="cuda")
        self.assertIn("aten::ones", [event.key for event in profile.key_averages()])

    def test_modules_on_several_devices(self):
        model, ones = nn.Linear(2, 2).cuda(), torch.ones(4, 2, device="cuda")
        self.assertEqual([2, 2], [len(part) for part in nn.parallel.scatter(ones, [0, 1])])
        spread = nn.DataParallel(model, device_ids=[0, 1])(ones)
        self.assertEqual(model(ones), spread)
        self.assertEqual(spread, nn.parallel.data_parallel(model, ones, [0, 1, 2]))
        with torch.no_grad():
            self.assertEqual(spread, nn.DataParallel(model, device_ids=[0, 1])(ones))
        spread.sum().backward()
        self.assertEqual(torch.full((2, 2), 4.0), model.weight.grad)

    def test_by_other_ways(self):
        with torch._C.DisableTorchFunction():
            torch.ones(1, device="cuda")
        torch.ops.aten.ones([2], device="cuda")

        @torch.jit.script
        def scripted(x):
            return x + torch.ones(2, device="cuda")

        self.assertEqual(scripted(torch.ones(2)), torch.full((2,), 2.0))
        seen = []

        class Mode(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                seen.append({torch.ones: "ones", torch.Tensor.to: "to"}.get(func))
                return func(*args, **(kwargs or {}))

        with Mode():
            torch.ones(1, device="cuda").to("cuda")
        self.assertEqual(["ones", "to"], [name for name in seen if name])
        with torch.device("meta"):
            self.assertEqual("meta", torch.ones(1).device.type)

    def test_other_threads(self):
        made, seen = [], []
        torch.cuda.set_device(2)
        with torch.cuda.Stream():
            for step in (
                lambda: made.append(torch.ones(1, device="cuda")),
                lambda: seen.append((torch.cuda.current_device(), torch.cuda.current_stream())),
            ):
                thread = threading.Thread(target=step)
                thread.start()
                thread.join()
        self.assertEqual([(0, torch.cuda.default_stream(0))], seen)
        x = torch.ones(1, requires_grad=True)
        x.register_hook(lambda grad: made.append(torch.zeros(1, device="cuda")))
        (2 * x).sum().backward()
        self.assertEqual(2, len(made))

    def test_compiled(self):
        def body(x):
            made = torch.ones(2, device="cuda") + torch.arange(2, device=torch.device("cuda:1"))
            with torch.autocast("cuda", torch.bfloat16):
                product = x @ x.to("cuda:1")
            return made + x.new_zeros(2, device="cuda") + product + torch.cuda.device_count()

        x = torch.ones(2, 2)
        self.assertEqual(body(x), torch.compile(body, backend="aot_eager", fullgraph=True)(x))

    def test_started_process(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            self.assertEqual("cpu", pool.apply(where_cuda_is))

class Threads(MultiThreadedTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()

    def test_threads(self):
        self.assertEqual(0, torch.cuda.current_device())
        torch.cuda.set_device(self.rank)
        dist.barrier()
        self.assertEqual(self.rank, torch.cuda.current_device())
        self.assertEqual(torch.ones(2, device="cuda").sum().item(), 2)

class Kept(MultiProcContinuousTest):
    world_size = 2

    def test_kept(self):
        self.assertEqual(self.rank, torch.cuda.current_device())
        self.assertEqual(torch.ones(2, device="cuda").sum().item(), 2)

class Skips(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @requires_accelerator_dist_backend()
    def test_any(self):
        self.assertTrue(HAS_ACCELERATOR)

    @requires_accelerator_dist_backend(["nccl"])
    def test_named(self):
        pass

class Ranks(DTensorTestBase):
    world_size = 2

    @requires_nccl()
    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_meshes(self):
        self.assertEqual(self.rank, torch.cuda.current_device())
        for mesh in (init_device_mesh("cuda", (2,)), DeviceMesh("cuda", [0, 1])):
            self.assertEqual(mesh.device_type, "cpu")
            sharded = distribute_tensor(torch.arange(4.0).cuda(), mesh, [Shard(0)])
            self.assertEqual(sharded.full_tensor(), torch.arange(4.0))
        heads = torch.ones(1, 2, 4, 4, device="cuda").cumsum(2)
        sharded = distribute_tensor(heads, mesh, [Shard(1)]).requires_grad_()
        attended = nn.functional.scaled_dot_product_attention(sharded, sharded, sharded, is_causal=True)
        self.assertEqual(
            nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True), attended.full_tensor()
        )
        attended.sum().backward()
        self.assertEqual([Shard(1)], list(sharded.grad.placements))

    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_wrappers(self):
        ones = torch.ones(2, 4, device=self.rank)
        models = [
            FullyShardedDataParallel(nn.Linear(4, 4).cuda(self.rank), device_id=torch.cuda.current_device()),
            nn.parallel.DistributedDataParallel(nn.Linear(4, 4).cuda(), device_ids=[self.rank]),
            fully_shard(nn.Linear(4, 4, device="cuda")),
            FullyShardedDataParallel(nn.Linear(4, 4), cpu_offload=CPUOffload(True), device_id=self.rank),
            torch.compile(nn.parallel.DistributedDataParallel(nn.Linear(4, 4).to(self.rank)), backend="aot_eager"),
            nn.DataParallel(nn.Linear(4, 4).to(0)),
        ]
        for model in models:
            model(ones).sum().backward()
            self.assertTrue(all(p.grad is not None for p in model.parameters()))
        model = nn.parallel.DistributedDataParallel(nn.Linear(4, 4).cuda(), device_ids=[self.rank])
        model.register_comm_hook(None, bf16_compress_hook)
        model(ones).sum().backward()
        sharded = FullyShardedDataParallel(nn.Linear(4, 4).cuda(), sync_module_states=True)
        kept_on_host = FullStateDictConfig(offload_to_cpu=True)
        with FullyShardedDataParallel.state_dict_type(sharded, StateDictType.FULL_STATE_DICT, kept_on_host):
            self.assertEqual((4, 4), sharded.state_dict()["weight"].shape)

    @with_comms
    def test_what_gloo_cannot(self):
        sizes = [[1, 3], [2, 0]]
        send = [torch.full((size,), float(self.rank), device="cuda") for size in sizes[self.rank]]
        received = [torch.empty(sizes[peer][self.rank], device="cuda") for peer in range(2)]
        dist.all_to_all(received, send)
        self.assertEqual(received, [torch.full_like(each, float(peer)) for peer, each in enumerate(received)])
        part = dist.split_group(split_ranks=[[0], [1]])
        self.assertEqual(1, dist.get_world_size(part))
        whole = torch.empty(2, device="cuda")
        with dist.distributed_c10d._coalescing_manager(device=torch.device("cuda")):
            dist.all_gather_into_tensor(whole, torch.full((1,), float(self.rank), device="cuda"))
        self.assertEqual([0.0, 1.0], whole.tolist())

    @with_comms
    def test_backend(self):
        store, options = dist.FileStore(f"{self.file_name}-made", 2), dist.ProcessGroupNCCL.Options()
        made = dist.ProcessGroupNCCL(store, self.rank, 2, options)
        total = torch.full((2,), 1 + 2 * self.rank, device="cuda")
        made.allreduce(total).wait()
        self.assertEqual([4, 4], total.tolist())
        ones = torch.ones(1, device="cuda", requires_grad=True)
        dist.nn.functional._all_gather_base(torch.empty(2, device="cuda"), ones).sum().backward()
        self.assertEqual([2.0], ones.grad.tolist())
        with self.assertRaisesRegex(ValueError, "contain a single element"):
            nn.parallel.DistributedDataParallel(nn.Linear(1, 1).cuda(), device_ids=[0, 1])

    @with_comms
    def test_synchronized_batch_norm(self):
        whole = torch.linspace(0, 1, 24, device="cuda").cos().view(6, 2, 2).requires_grad_()
        mine = whole.detach()[3 * self.rank : 3 * self.rank + 3].clone().requires_grad_()
        plain = nn.BatchNorm1d(2).cuda()
        model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(2))).cuda()
        model = nn.parallel.DistributedDataParallel(model, device_ids=[self.rank])
        for module, batch in ((model, mine), (plain, whole)):
            (module(batch).square() * batch.detach()).sum().backward()
        self.assertEqual(whole.grad[3 * self.rank : 3 * self.rank + 3], mine.grad)
        for name in ("running_mean", "running_var"):
            self.assertEqual(getattr(plain, name), getattr(model.module[0], name))

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
        dist.distributed_c10d._add_ephemeral_timeout_for_all_pgs(timedelta(seconds=1))  # as after each compilation
        self.assertEqual(torch.cuda.current_device(), self.rank)

if __name__ == "__main__":
    run_tests()
"""


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
        wrong = {name: entry.reason for name, entry in run.entries.items() if entry.status.is_failure}
        self.assertEqual({}, wrong, run.output)
        reason = "needs at least 9 accelerators, found 8"
        self.assert_status(run, "Ranks.test_needs_too_many", TestStatus.SKIPPED, reason)
        passed = [name for name, entry in run.entries.items() if entry.status is TestStatus.PASSED]
        self.assertEqual(sorted(set(run.entries) - {"Ranks.test_needs_too_many"}), sorted(passed))
        self.assertEqual(FILE.count("    def test_"), len(run.entries))

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
