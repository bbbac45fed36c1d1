"""Skips by what ranks need: decided without ranks where that is possible, with the reason they give.

A backend that torch does not know is an error, one that cannot be had here is a skip: in every base class, and before a
rank starts wherever the class says which it wants. Accelerators are simulated, as in test_devices.
"""

import os
import sys
import unittest
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from torch_testing_shim import common_distributed
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.rank_outcomes import TEST_SKIPS, skip_message
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._skips.by_ranks import missing_backend
from torch_testing_shim._skips.conditions import runs_on_cpu, skip_reason
from torch_testing_shim.common_distributed import (
    get_required_world_size,
    nccl_skip_if_lt_x_gpu,
    require_n_gpus_for_nccl_backend,
    requires_accelerator_dist_backend,
    requires_ddp_rank,
    requires_gloo,
    requires_nccl,
    requires_world_size,
    skip_if_lt_x_gpu,
    skip_if_no_gpu,
    skip_if_odd_worldsize,
    skip_if_small_worldsize,
)
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import NO_DEVICE_CHOSEN, SampleTestCase


def machine_with(count, accelerator="cuda"):
    """A context in which torch finds `count` accelerators of a type, and nobody has chosen a device."""
    return mock.patch.multiple(devices, accelerator_type=lambda: accelerator, accelerator_count=lambda: count)


class Base(TestCase):
    def setUp(self):
        super().setUp()
        environment = mock.patch.dict(os.environ, NO_DEVICE_CHOSEN)
        environment.start()
        self.addCleanup(environment.stop)

    def reason(self, decorator, count=0, accelerator="cuda"):
        """Why a decorated test is skipped: as told without ranks, which has to agree with what the test itself says."""

        @decorator
        def test(case):
            return "ran"

        with machine_with(count, accelerator):
            reason = skip_reason(self, test)
            if reason is None:
                self.assertEqual("ran", test(self))
            else:
                with self.assertRaisesRegex(unittest.SkipTest, reason):
                    test(self)
        return reason


class GpuCounts(Base):
    def test_fewer_than_wanted(self):
        self.assertEqual("needs at least 2 accelerators, found 0", self.reason(skip_if_lt_x_gpu(2)))
        self.assertEqual("needs at least 2 accelerators, found 1", self.reason(skip_if_lt_x_gpu(2), 1))
        self.assertEqual("needs at least 9 accelerators, found 8", self.reason(skip_if_lt_x_gpu(9), 8, "npu"))

    def test_enough(self):
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(2), 2))
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(2), 3, "xpu"))

    def test_allow_cpu_means_no_skip(self):
        allowed = skip_if_lt_x_gpu(2, allow_cpu=True)
        for count, on_cpu in ((0, False), (1, True), (2, False)):  # without accelerators it runs there anyway
            self.assertIsNone(self.reason(allowed, count))
            with machine_with(count):
                self.assertIs(on_cpu, runs_on_cpu(Base, allowed(lambda case: None)))

    def test_cpu_ranks_count_when_the_cpu_is_chosen(self):
        os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(8), 1))


class WhereTestsRun(Base):
    def on(self, count, accelerator="cuda"):
        with machine_with(count, accelerator):
            case = DTensorTestBase()
            return case.world_size, case.device_type

    def test_world_size_and_device(self):
        self.assertEqual((4, "cpu"), self.on(0, None))
        self.assertEqual((4, "cpu"), self.on(1))  # not enough for four ranks
        self.assertEqual((2, "cuda"), self.on(2))
        self.assertEqual((4, "xpu"), self.on(8, "xpu"))
        os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
        self.assertEqual((4, "cpu"), self.on(8))


class Backends(Base):
    def test_accelerator_backend(self):
        reason = "needs an accelerator with a process-group backend"
        self.assertEqual(reason, self.reason(requires_accelerator_dist_backend(), 0, None))
        self.assertIsNone(self.reason(requires_accelerator_dist_backend(["mpi", "gloo"])))
        named = self.reason(requires_accelerator_dist_backend(["a", "b"]))
        self.assertEqual("needs one of the backends a, b", named)

    def test_accelerators_backends_need_an_accelerator(self):
        available = mock.patch.multiple(dist, is_backend_available=lambda name: True, is_nccl_available=lambda: True)
        with available, mock.patch.dict(dist.Backend.backend_capability, nccl=["cuda"]):
            named = requires_accelerator_dist_backend(["nccl"])
            self.assertEqual("needs an accelerator for one of the backends nccl", self.reason(named, 0, "cuda"))
            self.assertEqual("needs at least 1 accelerators, found 0", self.reason(requires_nccl(), 0, "cuda"))
            for decorator in (named, requires_nccl()):
                self.assertIsNone(self.reason(decorator, 1, "cuda"))
                with mock.patch.dict("os.environ", TORCH_TESTING_SHIM_DEVICE="cpu"):  # whose ranks count instead
                    self.assertIsNone(self.reason(decorator, 0, None))

    def test_any_backend_that_is_registered_will_do(self):
        """No list of known names: whatever torch says of the accelerator in use."""
        with mock.patch.object(dist, "get_default_backend_for_device", lambda device: {"cuda": "gloo"}[device]):
            self.assertIsNone(self.reason(requires_accelerator_dist_backend(), 1))
            with mock.patch.object(dist, "is_backend_available", lambda name: False):
                missing = self.reason(requires_accelerator_dist_backend(), 1)
                self.assertEqual("the process-group backend of cuda is not available", missing)

    def test_an_accelerator_without_a_backend(self):
        def no_backend(device):
            raise ValueError(device)

        with mock.patch.object(dist, "get_default_backend_for_device", no_backend):
            reason = self.reason(requires_accelerator_dist_backend(), 1)
        self.assertEqual("no process-group backend is registered for device 'cuda'", reason)

    def test_built_in_backends(self):
        for name, decorator in (("gloo", requires_gloo), ("nccl", requires_nccl)):
            with self.subTest(name):
                is_there = getattr(dist, f"is_{name}_available")()

                @decorator()
                def test(case):
                    pass

                self.assertEqual(not is_there, getattr(test, "__unittest_skip__", False))


class WorldSizes(Base):
    world_size = 4

    def test_accelerators_for_nccl_alone(self):
        for_nccl, for_gloo = (require_n_gpus_for_nccl_backend(2, backend) for backend in ("nccl", "gloo"))
        too_few = "needs at least 2 accelerators, found 1"
        self.assertEqual(too_few, self.reason(for_nccl, 1))
        self.assertIsNone(self.reason(for_nccl, 2))
        self.assertIsNone(self.reason(for_gloo, 1))
        self.assertEqual(too_few, self.reason(nccl_skip_if_lt_x_gpu("nccl", 2), 1))
        self.assertIsNone(self.reason(nccl_skip_if_lt_x_gpu("gloo", 2), 1))

    def test_an_accelerator_for_each_rank(self):
        self.assertEqual("needs at least 4 accelerators, found 2", self.reason(skip_if_no_gpu, 2))
        self.assertEqual("needs at least 4 accelerators, found 0", self.reason(skip_if_no_gpu, 0, None))
        with mock.patch.dict(os.environ, WORLD_SIZE="2"):
            self.assertIsNone(self.reason(skip_if_no_gpu, 2))
        with mock.patch.dict(os.environ, TORCH_TESTING_SHIM_DEVICE="cpu"):
            self.assertIsNone(self.reason(skip_if_no_gpu, 0, None))

    def test_small_and_odd(self):
        self.assertEqual("the world size is too small: 4", self.reason(skip_if_small_worldsize))
        self.assertIsNone(self.reason(skip_if_odd_worldsize))
        with mock.patch.dict(os.environ, WORLD_SIZE="7"):
            self.assertEqual("the world size is too small: 7", self.reason(skip_if_small_worldsize))
            self.assertEqual("the world size is odd: 7", self.reason(skip_if_odd_worldsize))
        with mock.patch.dict(os.environ, WORLD_SIZE="8"):
            self.assertIsNone(self.reason(skip_if_small_worldsize))
        with mock.patch.dict(os.environ, BACKEND="mpi"):
            self.assertIsNone(self.reason(skip_if_small_worldsize))

    def test_a_number_that_a_test_wants(self):
        three = requires_world_size(3)
        self.assertEqual("needs at least 3 accelerators, found 2", self.reason(three, 2))
        self.assertIsNone(self.reason(three, 3))

        class Sample(unittest.TestCase):
            @three
            def test_three(self):
                pass

            def test_any(self):
                pass

        wanted = [get_required_world_size(Sample(name), 2) for name in ("test_three", "test_any")]
        self.assertEqual([3, 2], wanted)

    def test_devices_of_ddp(self):
        self.assertEqual([True, False], list(map(requires_ddp_rank, ("cuda:1", "cpu"))))


class MissingBackends(Base):
    def missing(self, backend, count=0, accelerator="cuda", ranks=4):
        available = mock.patch.object(dist, "is_backend_available", lambda name: name != "mpi")
        with machine_with(count, accelerator), available:
            return missing_backend(backend, ranks)

    def test_accelerators_are_counted(self):
        self.assertEqual("needs at least 4 accelerators, found 3", self.missing("nccl", 3))
        self.assertEqual("needs at least 4 accelerators, found 0", self.missing("cpu:gloo,cuda:NCCL", 8, "xpu"))
        self.assertIsNone(self.missing("cpu:gloo,cuda:nccl", 4))
        self.assertIsNone(self.missing("cpu:gloo,cuda:gloo"))
        os.environ["TORCH_TESTING_SHIM_MAP_DEVICE"] = "cuda=cpu"
        self.assertIsNone(self.missing("nccl"))

    def test_a_build_without_it(self):
        self.assertEqual("the backend mpi is not available", self.missing("mpi"))

    def test_none_is_torchs_choice(self):
        self.assertIsNone(self.missing(None))

    def test_unknown(self):
        with self.assertRaisesRegex(ValueError, "^torch does not know the process-group backend 'golo'; it knows gloo"):
            self.missing("cuda:nccl,cpu:golo")


TESTS = """
from torch_testing_shim._cases.dynamo import DynamoDistributedMultiProcTestCase, _dynamo_dist_per_rank_init
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase, with_comms as with_sharded_comms

class Two:
    world_size = 2

    @classmethod
    def _run(cls, *args, **kwargs):
        print("ranks of", cls.__name__, "start", file=open(os.path.join(os.path.dirname(__file__), "started"), "a"))
        super()._run(*args, **kwargs)

class Kept(Two, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "golo"

    def test_misspelled(self):
        self.fail("must not be lost")

class KeptNccl(Kept):
    @classmethod
    def backend_str(cls):
        return "cpu:gloo,cuda:nccl"

    def test_misspelled(self):
        self.fail("there is no accelerator")

class KeptOnCuda(Two, MultiProcContinuousTest):
    @classmethod
    def device_type(cls):
        return "cuda"

    def test_its_device(self):
        self.fail("there is no accelerator")

class DTensorOnCuda(Two, DTensorTestBase):
    device_type, backend = "cuda", "gloo"

    @with_comms
    def test_its_device(self):
        self.fail("there is no accelerator")

class DTensor(Two, DTensorTestBase):
    @with_comms(backend="golo")
    def test_misspelled(self):
        self.fail("must not be lost")

    @with_comms(backend="nccl")
    def test_accelerators_backend(self):
        self.fail("there is no accelerator")

class DTensorNccl(Two, DTensorTestBase):
    backend = "nccl"

    @with_comms
    def test_accelerators_backend(self):
        self.fail("there is no accelerator")

    @with_comms(backend="gloo")
    def test_another(self):
        pass

    def test_by_itself(self):
        self.init_pg()

class OwnDevice(Two, DTensorTestBase):
    device_type = "cuda"

    @with_comms
    def test_its_backend(self):
        self.fail("there is no accelerator")

class OwnGroup(Two, DTensorTestBase):
    def init_pg(self, eager_init, backend=None):
        self.assertEqual("of_my_own", backend)
        super().init_pg(backend="gloo")

    @with_comms(backend="of_my_own")
    def test_its_own_name(self):
        pass

class OwnShardedGroup(Two, ShardedTensorTestBase):
    def init_comms(self, init_rpc=True, backend="nccl"):
        self.assertEqual("of_my_own", backend)
        super().init_comms(init_rpc=init_rpc, backend="gloo")

    @with_sharded_comms(init_rpc=False, backend="of_my_own")
    def test_its_own_name(self):
        pass

class Sharded(Two, ShardedTensorTestBase):
    @with_sharded_comms(init_rpc=False, backend="golo")
    def test_misspelled(self):
        self.fail("must not be lost")

class Distributed(Two, DistributedTestBase):
    def test_its_backend(self):
        self.create_pg("cuda")

class Compiled(Two, DynamoDistributedMultiProcTestCase):
    def test_its_backend(self):
        with _dynamo_dist_per_rank_init(self.rank, self.world_size, "nccl"):
            self.fail("there is no accelerator")
"""


class BaseClasses(SampleTestCase):
    def test_unknown_and_unavailable_backends(self):
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_DEVICE="cpu")
        unknown = "^ValueError: torch does not know the process-group backend 'golo'; it knows gloo, "
        for test in ("Kept", "DTensor", "Sharded"):
            self.assert_status(run, f"{test}.test_misspelled", TestStatus.ERROR, unknown)
        missing = "^needs at least 2 accelerators, found 0$"
        for test in (
            "KeptNccl.test_misspelled",
            "DTensor.test_accelerators_backend",
            "DTensorNccl.test_accelerators_backend",
            "DTensorNccl.test_by_itself",
            "OwnDevice.test_its_backend",
            "Distributed.test_its_backend",
            "Compiled.test_its_backend",
        ):
            self.assert_status(run, test, TestStatus.SKIPPED, missing)
        for test in ("KeptOnCuda.test_its_device", "DTensorOnCuda.test_its_device"):
            self.assert_status(run, test, TestStatus.SKIPPED, "^needs at least 2 cuda, found 0$")
        self.assert_status(run, "DTensorNccl.test_another", TestStatus.PASSED)
        for test in ("OwnGroup.test_its_own_name", "OwnShardedGroup.test_its_own_name"):
            self.assert_status(run, test, TestStatus.PASSED)
        started = {line.split()[2] for line in (self.folder / "started").read_text().splitlines()}
        self.assertEqual(
            {"DTensorNccl", "Distributed", "Compiled", "OwnGroup", "OwnShardedGroup"}, started
        )  # which say it in their tests


class ExitCodes(TestCase):
    def test_codes_are_upstreams_and_differ(self):
        codes = [skip.exit_code for skip in TEST_SKIPS.values()]
        self.assertEqual(len(codes), len(set(codes)))
        self.assertEqual((77, 80, 85, 86), tuple(TEST_SKIPS[n].exit_code for n in KNOWN))
        self.assertIs(TEST_SKIPS, common_distributed.TEST_SKIPS)

    def test_message_of_a_code(self):
        self.assertEqual(TEST_SKIPS["nccl"].message, skip_message(76))
        for code in (0, 1, 10, None, "x"):
            self.assertIsNone(skip_message(code))


KNOWN = ("multi-gpu-2", "multi-gpu-3", "multi-gpu-8", "generic")

if __name__ == "__main__":
    run_tests()
