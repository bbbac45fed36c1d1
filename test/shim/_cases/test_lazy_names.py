"""The names of `common_distributed` besides its base classes: each used as upstream documents it."""

import datetime
import inspect
import os
import resource
import sys
import types
import unittest
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

from torch_testing_shim import common_distributed
from torch_testing_shim._cases import communication, lazy_names
from torch_testing_shim._engine import devices, rank_device
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._skips import by_platform
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

CPU, CHOSEN = DeviceInUse("cpu", 0), DeviceInUse("cpu", 0, chosen=True)


def gpus(count, device_type="cuda"):
    return DeviceInUse(device_type, count)


def name(text):
    return getattr(common_distributed, text)


def forget_efa():
    """Has `has_efa` ask again."""
    if hasattr(name("has_efa"), "cache_clear"):
        name("has_efa").cache_clear()
    else:  # torch 2.6
        common_distributed.EFA_PROBE_RESULT = None


class Lazy(TestCase):
    def test_every_name_is_found_and_no_other(self):
        for text in (*lazy_names.HOMES, *lazy_names.ANSWERS):
            with self.subTest(text):
                self.assertIsNotNone(name(text))
        with self.assertRaisesRegex(AttributeError, "common_distributed' has no attribute 'nothing'"):
            name("nothing")

    def test_what_is_answered_for_the_device(self):
        names = ("HAS_ACCELERATOR", "DDP_RANK_DEVICES", "ACCELERATOR_DIST_BACKENDS", "PLATFORM_SUPPORTS_SYMM_MEM")
        with (
            mock.patch.object(devices, "device_in_use", lambda: CPU),
            mock.patch.object(by_platform, "device_in_use", lambda: CPU),
        ):
            self.assertEqual([False, [], [], False], list(map(name, names)))
        with (  # a machine with GPUs cannot be had here
            mock.patch.object(devices, "device_in_use", lambda: gpus(2)),
            mock.patch.object(by_platform, "device_in_use", lambda: gpus(2)),
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
        self.assertIs(name("skip_if_rocm"), name("skip_if_rocm_multiprocess"))


class Skips(TestCase):
    """Each decorator on a test, on machines that cannot be had here: the device is what the test says it is."""

    def run_decorated(self, decorator, device=CPU, world_size=4, **environment):
        """The reason for which a decorated test skips; None where it runs."""

        class Sample(unittest.TestCase):
            def test_it(self):
                ran.append(True)

        Sample.test_it = decorator(Sample.test_it)
        Sample.world_size = world_size
        ran, result = [], unittest.TestResult()
        modules = ("by_backend", "by_world", "by_platform")
        with mock.patch.dict(os.environ, environment):
            patches = [
                mock.patch(f"torch_testing_shim._skips.{module}.device_in_use", lambda: device) for module in modules
            ]
            with patches[0], patches[1], patches[2]:
                Sample("test_it").run(result)
        self.assertEqual(([], []), (result.errors, result.failures))
        self.assertEqual(not ran, bool(result.skipped))
        return result.skipped[0][1] if result.skipped else None

    def test_by_accelerators(self):
        for_nccl, for_gloo = (name("require_n_gpus_for_nccl_backend")(2, backend) for backend in ("nccl", "gloo"))
        too_few = "needs at least 2 accelerators, found 1"
        self.assertEqual(too_few, self.run_decorated(for_nccl, gpus(1)))
        self.assertIsNone(self.run_decorated(for_nccl, gpus(2)))
        self.assertIsNone(self.run_decorated(for_gloo, gpus(1)))
        self.assertEqual(too_few, self.run_decorated(name("nccl_skip_if_lt_x_gpu")("nccl", 2), gpus(1)))
        self.assertIsNone(self.run_decorated(name("nccl_skip_if_lt_x_gpu")("gloo", 2), gpus(1)))
        no_gpu = name("skip_if_no_gpu")
        self.assertEqual("needs at least 4 accelerators, found 2", self.run_decorated(no_gpu, gpus(2)))
        self.assertIsNone(self.run_decorated(no_gpu, gpus(2), WORLD_SIZE="2"))
        self.assertEqual("needs at least 4 accelerators, found 0", self.run_decorated(no_gpu))
        self.assertIsNone(self.run_decorated(no_gpu, CHOSEN))

    def test_by_world_size(self):
        small, odd = name("skip_if_small_worldsize"), name("skip_if_odd_worldsize")
        self.assertEqual("the world size is too small: 7", self.run_decorated(small, world_size=7))
        self.assertIsNone(self.run_decorated(small, world_size=8))
        self.assertIsNone(self.run_decorated(small, world_size=7, BACKEND="mpi"))
        self.assertEqual("the world size is odd: 3", self.run_decorated(odd, world_size=4, WORLD_SIZE="3"))
        self.assertIsNone(self.run_decorated(odd, world_size=4))

    def test_world_size_that_a_test_wants(self):
        three = name("requires_world_size")(3)
        self.assertEqual("needs at least 3 accelerators, found 2", self.run_decorated(three, gpus(2)))
        self.assertIsNone(self.run_decorated(three, gpus(3)))

        class Sample(unittest.TestCase):
            @three
            def test_three(self):
                pass

            def test_any(self):
                pass

        wanted = name("get_required_world_size")
        self.assertEqual((3, 2), (wanted(Sample("test_three"), 2), wanted(Sample("test_any"), 2)))

    def test_by_nccl(self):
        new = name("requires_nccl_version")((2, 99), "for the test")
        self.assertIsNone(self.run_decorated(new))  # says nothing of other devices
        with mock.patch.object(dist, "is_nccl_available", lambda: False):
            self.assertEqual("torch was built without NCCL", self.run_decorated(new, gpus(1)))
        with (
            mock.patch.object(dist, "is_nccl_available", lambda: True),
            mock.patch("torch.cuda.nccl.version", lambda: (2, 26, 5)),
        ):
            self.assertEqual("needs NCCL 2.99, found 2.26.5: for the test", self.run_decorated(new, gpus(1)))
            self.assertIsNone(self.run_decorated(name("requires_nccl_version")((2, 26), ""), gpus(1)))
            self.assertRegex(self.run_decorated(name("requires_nccl_shrink")(), gpus(1)), "^needs NCCL 2.27, found")

    def test_by_platform(self):
        self.assertEqual(
            "needs a device with multicast memory", self.run_decorated(name("requires_multicast_support")())
        )
        with mock.patch("importlib.util.find_spec", lambda _: None):
            self.assertEqual(
                "the package transformers is not installed", self.run_decorated(name("import_transformers_or_skip")())
            )
        with mock.patch.dict(sys.modules, transformers=types.ModuleType("transformers")):
            sys.modules["transformers"].__spec__ = mock.Mock()
            self.assertIsNone(self.run_decorated(name("import_transformers_or_skip")()))

    def test_by_rocm(self):
        arch, version = name("skip_if_rocm_arch_multiprocess"), name("skip_if_rocm_ver_lessthan_multiprocess")
        for decorator in (name("skip_if_rocm_multiprocess"), arch(("gfx90a",)), version((6, 4))):
            self.assertIsNone(self.run_decorated(decorator))
        with (  # a machine with ROCm cannot be had here
            mock.patch.multiple(DRIVER, may_start=True, _answers={}),
            mock.patch.object(by_platform, "TEST_WITH_ROCM", True),
            mock.patch.object(torch.version, "hip", "6.3.42133-1b9c17779"),
            mock.patch("torch.cuda.get_device_properties", lambda _: mock.Mock(gcnArchName="gfx90a:sramecc+")),
        ):
            self.assertEqual("does not run on ROCm", self.run_decorated(name("skip_if_rocm_multiprocess")))
            self.assertEqual("does not run on gfx90a", self.run_decorated(arch(("gfx90a",))))
            self.assertIsNone(self.run_decorated(arch(("gfx942",))))
            self.assertEqual("needs ROCm 6.4, found ROCm 6.3.42133", self.run_decorated(version((6, 4))))
            self.assertIsNone(self.run_decorated(version((6, 2))))
            self.assertEqual("needs another platform, found ROCm 6.3.42133", self.run_decorated(version()))

    def test_capabilities(self):
        is_enough = name("sm_is_or_higher_than")
        self.assertTrue(is_enough(torch.device("cpu"), 99, 0))
        with (
            mock.patch.multiple(DRIVER, may_start=True, _answers={}),
            mock.patch("torch.cuda.get_device_capability", lambda _: (8, 6)),
        ):
            cuda = torch.device("cuda", 0)
            self.assertEqual([True, True, False], [is_enough(cuda, 8, minor) for minor in (0, 6, 9)])
        self.assertEqual([True, False], list(map(name("requires_ddp_rank"), ("cuda:1", "cpu"))))


class Means(TestCase):
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
                mock.patch.object(communication, "device_in_use", lambda device=device: device),
                mock.patch.object(rank_device, "device_in_use", lambda device=device: device),
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
        with self.assertRaisesRegex(AssertionError, "DDP has logged"):
            verify_ddp_error_logged(model, "Expected to have finished reduction")
        with self.assertRaisesRegex(RuntimeError, "Expected to have finished reduction") as caught:
            model(torch.ones(1, 2))  # some parameter got no gradient
        verify_ddp_error_logged(model, str(caught.exception))
        with self.assertRaisesRegex(AssertionError, "in which 'something else' does not stand"):
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
