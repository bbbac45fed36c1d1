"""torch.accelerator, device modules, streams and events, as tests for whatever accelerator there is are written."""

import contextlib
import unittest

import torch
import torch.distributed as dist
from torch.testing._internal.common_cuda import TEST_MULTIGPU
from torch.testing._internal.common_device_type import (
    deviceCountAtLeast,
    get_all_device_types,
    instantiate_device_type_tests,
    onlyAccelerator,
    onlyOn,
    skipXPU,
)
from torch.testing._internal.common_distributed import (
    HAS_ACCELERATOR,
    DistributedTestBase,
    MultiProcessTestCase,
    at_least_x_gpu,
    requires_accelerator_dist_backend,
    requires_nccl,
    skip_if_lt_x_gpu,
)
from torch.testing._internal.common_fsdp import get_devtype
from torch.testing._internal.common_utils import (
    TEST_ACCELERATOR,
    TEST_CUDA_GRAPH,
    TEST_MPS,
    TEST_MULTIACCELERATOR,
    TEST_PRIVATEUSE1,
    TEST_XPU,
    TestCase,
    get_cycles_per_ms,
    parametrize,
    run_tests,
    skipIfMPS,
    skipIfRocm,
    skipIfXpu,
)

acc = torch.accelerator.current_accelerator()
device_type = acc.type if acc is not None else "cpu"
device_module = torch.get_device_module(device_type)


@unittest.skipIf(not TEST_ACCELERATOR, "no accelerator")
class TestAccelerator(TestCase):
    def test_current(self):
        self.assertEqual(torch.accelerator.current_accelerator().type, device_type)
        self.assertTrue(torch.accelerator.is_available())

    def test_streams(self):
        stream, event = torch.Stream(device_type), torch.Event(device_type, enable_timing=True)
        with stream:
            self.assertEqual(torch.accelerator.current_stream(), stream)
            event.record()
        event.synchronize()
        torch.accelerator.synchronize()

    def test_memory(self):
        torch.accelerator.empty_cache()
        self.assertGreaterEqual(torch.accelerator.memory_allocated(), 0)

    @unittest.skipIf(not TEST_MULTIACCELERATOR, "one accelerator")
    def test_indices(self):
        torch.accelerator.set_device_index(1)
        self.assertEqual(torch.accelerator.current_device_index(), 1)


class TestWithoutOne(TestCase):
    @unittest.skipIf(TEST_ACCELERATOR, "is about machines without one")
    def test_nothing_there(self):
        self.assertIsNone(acc)
        self.assertFalse(torch.accelerator.is_available())
        self.assertEqual(torch.accelerator.device_count(), 0)
        self.assertFalse(any((TEST_CUDA_GRAPH, TEST_MPS, TEST_XPU, TEST_MULTIGPU, TEST_PRIVATEUSE1, HAS_ACCELERATOR)))

    @unittest.skipIf(TEST_ACCELERATOR, "is about machines without one")
    def test_no_stream(self):
        with self.assertRaises(RuntimeError):
            torch.accelerator.current_stream()

    def test_device_of_fsdp(self):
        self.assertEqual(get_devtype().type, device_type)
        self.assertEqual(get_all_device_types()[0], "cpu")

    @unittest.skipIf(not TEST_ACCELERATOR, "no accelerator to time")
    def test_cycles(self):
        self.assertGreater(get_cycles_per_ms(), 0)

    @unittest.skipIf(not at_least_x_gpu(1), "no accelerator")
    def test_at_least_one(self):
        self.assertIsNotNone(acc)

    def test_module_of_the_cpu(self):
        self.assertEqual(torch.get_device_module("cpu").device_count(), 1)
        with contextlib.suppress(AttributeError):
            self.assertIsNotNone(device_module.current_device())
        torch.cpu.synchronize()
        with torch.cpu.stream(torch.cpu.current_stream()):
            self.assertEqual(torch.ones(1).device.type, "cpu")

    def test_cuda_is_not_asked(self):
        self.assertFalse(torch.cuda.is_initialized() and not TEST_ACCELERATOR)

    @skipIfMPS
    @skipIfXpu
    @skipIfRocm
    def test_elsewhere(self):
        self.assertEqual(torch.zeros(1, device=device_type).device.type, "quartz")


class TestGeneric(TestCase):
    @onlyAccelerator
    def test_pinned(self, device):
        self.assertTrue(torch.ones(1, pin_memory=True).is_pinned())

    @onlyOn(["cuda", "xpu"])
    @skipXPU
    def test_events(self, device):
        self.fail("must not run on the CPU")

    @deviceCountAtLeast(1)
    def test_devices(self, devices):
        self.assertEqual(
            [torch.device(each).type for each in devices], [torch.device(self.device_type).type] * len(devices)
        )

    @parametrize("non_blocking", [True, False])
    def test_copies(self, device, non_blocking):
        self.assertEqual(torch.ones(2).to(device, non_blocking=non_blocking).cpu(), torch.ones(2))

    def test_class_knows_its_device(self, device):
        self.assertEqual(torch.device(self.get_primary_device()), torch.device(device))
        self.assertIn(device, self.get_all_devices())


class TestGroups(DistributedTestBase):
    @property
    def world_size(self):
        return 2

    def test_backend_of_the_device(self):
        self.create_pg(device_type)
        self.assertEqual(dist.get_backend(), dist.get_default_backend_for_device(device_type))
        ones = torch.ones(1, device=torch.device(device_type, self.rank) if acc is not None else device_type)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)

    @skip_if_lt_x_gpu(2)
    def test_two_accelerators(self):
        self.create_pg(device_type)
        device_module.set_device(self.rank)

    @requires_accelerator_dist_backend(["nccl", "xccl"])
    def test_on_an_accelerators_backend(self):
        self.fail("gloo has none")

    @requires_nccl()
    @skip_if_lt_x_gpu(2)
    def test_nccl(self):
        self.fail("is not built in")

    def test_wrong_device(self):
        self.create_pg(device_type)
        self.assertEqual(torch.ones(1).device.type, "cuda")


class TestClassOfAccelerators(MultiProcessTestCase):
    @property
    def world_size(self):
        return max(2, torch.accelerator.device_count())

    def setUp(self):
        super().setUp()
        if not HAS_ACCELERATOR:
            self.skipTest("no accelerator")
        self._spawn_processes()

    def test_in_ranks(self):
        torch.accelerator.set_device_index(self.rank)


instantiate_device_type_tests(TestGeneric, globals(), only_for=("cpu", device_type), allow_xpu=True, allow_mps=True)

if __name__ == "__main__":
    run_tests()
