"""The names of `common_distributed` besides its base classes: each used as upstream documents it."""

import datetime
import inspect
import os
import resource
import sys
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

from torch_testing_shim import common_distributed
from torch_testing_shim._cases import surroundings
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._skips import capabilities
from torch_testing_shim._upstream.graft import ours_in
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

CPU = DeviceInUse("cpu", 0)


def gpus(count, device_type="cuda"):
    return DeviceInUse(device_type, count)


def name(text):
    return getattr(common_distributed, text)


def forget_efa():
    """Have `has_efa` ask again."""
    if hasattr(name("has_efa"), "cache_clear"):
        name("has_efa").cache_clear()
    else:  # torch 2.6
        common_distributed.EFA_PROBE_RESULT = None


class Names(TestCase):
    def test_every_name_is_found_and_no_other(self):
        for text in ours_in(common_distributed.__name__):
            with self.subTest(text):
                getattr(common_distributed, text)
        with self.assertRaisesRegex(AttributeError, "common_distributed' has no attribute 'nothing'"):
            name("nothing")

    def test_what_is_answered_for_the_device(self):
        names = ("HAS_ACCELERATOR", "DDP_RANK_DEVICES", "ACCELERATOR_DIST_BACKENDS", "PLATFORM_SUPPORTS_SYMM_MEM")
        with (
            mock.patch.object(devices, "device_in_use", lambda: CPU),
            mock.patch.object(capabilities, "device_in_use", lambda: CPU),
        ):
            self.assertEqual([False, [], [], False], list(map(name, names)))
        with (  # a machine with GPUs cannot be had here
            mock.patch.object(devices, "device_in_use", lambda: gpus(2)),
            mock.patch.object(capabilities, "device_in_use", lambda: gpus(2)),
        ):
            self.assertEqual([True, ["cuda"], ["nccl"], True], list(map(name, names)))
        with mock.patch.dict(os.environ, {"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": "7"}):
            self.assertEqual(7, name("TIMEOUT_DEFAULT"))

    def test_a_test_with_a_time_of_its_own(self):
        with mock.patch.dict(name("TIMEOUT_OVERRIDE"), {"test_slow": 4321}):
            self.assertEqual(4321, common_distributed.get_timeout("module.Class.test_slow"))
            self.assertNotEqual(4321, common_distributed.get_timeout("module.Class.test_other"))

    def test_no_core_dumps(self):
        before = resource.getrlimit(resource.RLIMIT_CORE)
        with self.assertRaises(ValueError), name("core_dumps_disabled")():
            self.assertEqual((0, before[1]), resource.getrlimit(resource.RLIMIT_CORE))
            raise ValueError
        self.assertEqual(before, resource.getrlimit(resource.RLIMIT_CORE))

    def test_features_of_backends(self):
        cases = name("DistTestCases")
        self.assertIn("gloo", cases.backend_feature["ddp"])
        self.assertNotIn("gloo", cases.skip_collective["allgather_coalesced"])
        self.assertIn("nccl", cases.skip_collective["cpu barrier"])

    def test_old_spelling(self):
        self.assertIs(common_distributed.MultiProcContinousTest, common_distributed.MultiProcContinuousTest)


class Surroundings(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        dist.TCPStore("localhost", 0, is_master=True)  # the first opens a pipe that libuv keeps for good

    def test_tcp_store(self):
        stores = [name("create_tcp_store")() for _ in range(2)]
        self.assertNotEqual(stores[0].port, stores[1].port)
        stores[0].set("key", "value")
        client = dist.TCPStore("localhost", stores[0].port, is_master=False)
        self.assertEqual(b"value", client.get("key"))

    def test_gloo_device(self):
        options = dist.ProcessGroupGloo._Options()
        takes_it = "lazy_init" in inspect.signature(name("create_device")).parameters
        lazy = {"lazy_init": True} if takes_it else {}
        options._devices = [name("create_device")(), name("create_device")(interface="lo", **lazy)]
        options._timeout = datetime.timedelta(seconds=9)
        group = dist.ProcessGroupGloo(dist.HashStore(), 0, 1, options)
        total = torch.ones(2)
        group.allreduce([total]).wait()
        self.assertEqual(total, torch.ones(2))
        with self.assertRaises(RuntimeError):
            name("create_device")(interface="no such interface")

    def test_devices_for_ranks(self):
        helper = name("init_multigpu_helper")
        expected = {CPU: {0: [0], 1: [1], 2: [2]}, gpus(4): {0: [0], 1: [1], 2: [2]}, gpus(2): {0: [], 1: [], 2: []}}
        for device, indices in expected.items():
            with (
                mock.patch.object(surroundings, "device_in_use", lambda device=device: device),
                mock.patch.object(devices, "device_in_use", lambda device=device: device),
            ):
                self.assertEqual(indices, helper(3, "nccl"))

    def test_transports(self):
        for exit_code, transports in ((0, ["shm", "uv"]), (1, None)):
            finished = mock.Mock(returncode=exit_code)
            with mock.patch("subprocess.run", lambda *_, finished=finished, **__: finished):  # no such adapter here
                forget_efa()
                self.assertEqual(transports, name("tp_transports")())
        forget_efa()
        self.assertFalse(name("has_efa")())

    def test_captured_output(self):
        with name("captured_output")() as (out, err):
            print("to out")
            print("to err", file=sys.stderr)
        self.assertEqual(("to out\n", "to err\n"), (out.getvalue(), err.getvalue()))

    def test_temporary_folders(self):
        name("initialize_temp_directories")()
        folder, method = os.environ["TEMP_DIR"], os.environ["INIT_METHOD"]
        self.assertEqual(["barrier", "init_dir", "test_dir"], sorted(os.listdir(folder)))
        dist.init_process_group("gloo", init_method=method, rank=0, world_size=1)
        dist.destroy_process_group()
        name("cleanup_temp_dir")()
        self.assertEqual((False, False), (os.path.exists(folder), "TEMP_DIR" in os.environ))
        name("initialize_temp_directories")("tcp://elsewhere")
        self.assertEqual("tcp://elsewhere", os.environ["INIT_METHOD"])
        name("cleanup_temp_dir")()
        name("cleanup_temp_dir")()  # twice is no error

    def test_blocking_wait(self):
        def variables():
            return [os.environ.get(f"TORCH_NCCL_{each}") for each in ("BLOCKING_WAIT", "ASYNC_ERROR_HANDLING")]

        with mock.patch.dict(os.environ, TORCH_NCCL_ASYNC_ERROR_HANDLING="3"):
            before = variables()
            self.assertEqual(["1", None], name("with_nccl_blocking_wait")(variables)())
            with self.assertRaises(ZeroDivisionError):
                name("with_nccl_blocking_wait")(lambda: 1 / 0)()
            self.assertEqual(before, variables())


ON_RANKS = """
from torch_testing_shim.common_distributed import *
from torch_testing_shim.common_distributed import (
    DistributedTestBase, DynamoDistributedMultiProcTestCase, DynamoDistributedSingleProcTestCase,
    _dynamo_dist_per_rank_init, get_required_world_size, requires_world_size, verify_ddp_error_logged,
    with_dist_debug_levels,
)

class Based(DistributedTestBase):
    @property
    def world_size(self):
        return get_required_world_size(self, 2)

    def setUp(self):
        super().setUp()
        assert os.environ["WORLD_SIZE"] == str(self.world_size)

    def test_group_by_device(self):
        self.assertEqual(os.environ["WORLD_SIZE"], "2")
        self.assertEqual((self.backend("cpu"), self.backend("cuda:1")), ("gloo", "nccl"))
        group = self.create_pg("cpu")
        self.assertIs(group, dist.group.WORLD)
        self.assertEqual((dist.get_rank(), dist.get_world_size(), dist.get_backend()), (self.rank, 2, "gloo"))
        self.assertEqual(self.rank_to_device("cpu"), {0: [0], 1: [0]})

    @requires_world_size(3)
    def test_wants_three(self):
        self.assertEqual(self.create_pg("cpu").size(), 3)

    def test_debug_levels(self):
        self.create_pg("cpu")
        seen = []

        @with_dist_debug_levels(["DETAIL", "INFO"])
        def note(word):
            seen.append((word, dist.get_debug_level(), os.environ["TORCH_DISTRIBUTED_DEBUG"]))
            return len(seen)

        before = dist.get_debug_level(), os.environ.get("TORCH_DISTRIBUTED_DEBUG")
        self.assertEqual(note("word"), 2)
        levels = dist.DebugLevel.DETAIL, dist.DebugLevel.INFO
        self.assertEqual(seen, [("word", levels[0], "DETAIL"), ("word", levels[1], "INFO")])
        with self.assertRaises(ZeroDivisionError):
            with_dist_debug_levels(["OFF"])(lambda: 1 / 0)()
        self.assertEqual((dist.get_debug_level(), os.environ.get("TORCH_DISTRIBUTED_DEBUG")), before)

    def test_error_that_ddp_logs(self):
        self.create_pg("cpu")
        layer = torch.nn.Linear(2, 2)
        layer.unused = torch.nn.Parameter(torch.ones(1))
        model = torch.nn.parallel.DistributedDataParallel(layer)
        model(torch.ones(1, 2)).sum().backward()
        with self.assertRaises(AssertionError):
            verify_ddp_error_logged(model, "Expected to have finished reduction")
        with self.assertRaisesRegex(RuntimeError, "Expected to have finished reduction") as caught:
            model(torch.ones(1, 2))  # some parameter got no gradient
        verify_ddp_error_logged(model, str(caught.exception))
        with self.assertRaises(AssertionError):
            verify_ddp_error_logged(model, "something else")

class OnRanks(DynamoDistributedMultiProcTestCase):
    def test_compiled(self):
        self.assertEqual(self.world_size, 4)
        for _ in range(2):  # a second group meets, too
            with _dynamo_dist_per_rank_init(self.rank, self.world_size):
                self.assertFalse(torch._dynamo.utils.counters)
                torch._dynamo.utils.counters["seen"]["it"] += 1
                total = torch.tensor([self.rank])
                dist.all_reduce(total)
                self.assertEqual(total.item(), 6)
            self.assertFalse(torch._dynamo.utils.counters)
            self.assertFalse(dist.is_initialized())
        with _dynamo_dist_per_rank_init(self.rank, self.world_size, init_pg=False):
            self.assertFalse(dist.is_initialized())

class InThisProcess(DynamoDistributedSingleProcTestCase):
    def test_group_of_one(self):
        self.assertEqual((dist.get_rank(), dist.get_world_size(), self.rank, self.device), (0, 1, 0, "cpu:0"))
        self.assertIsNone(self.device_ids)
        compiled = torch.compile(lambda x: x + 1, backend="eager")
        self.assertEqual(compiled(torch.ones(2)), torch.full((2,), 2.0))
        self.assertTrue(torch._dynamo.utils.counters["stats"])

    def test_nothing_compiled_is_left(self):
        self.test_group_of_one()
        self.assertEqual(torch._dynamo.utils.counters["stats"]["unique_graphs"], 1)

    def test_group_that_sends_nothing(self):
        with _dynamo_dist_per_rank_init(0, 1, backend="gloo", init_pg=False):
            pass

class NoGroupIsLeft(TestCase):
    def test_group_that_sends_nothing(self):
        with _dynamo_dist_per_rank_init(3, 64, fake_pg=True):
            self.assertEqual((dist.get_rank(), dist.get_world_size(), dist.get_backend()), (3, 64, "fake"))
            dist.all_reduce(torch.ones(1))
        self.assertFalse(dist.is_initialized())
"""


class OnRanks(SampleTestCase):
    def test_each(self):
        run = self.run_sample(ON_RANKS, TORCH_TESTING_SHIM_DEVICE="cpu")
        bad = {test: entry.detail for test, entry in run.entries.items() if entry.status is not TestStatus.PASSED}
        self.assertEqual({}, bad)
        self.assertEqual((0, 9), (run.exit_code, len(run.entries)), run.output)
        self.assertNotIn("left in the test process", run.output)


if __name__ == "__main__":
    run_tests()
