"""The device in use, on this machine and as torch would answer elsewhere.

Accelerators are simulated: torch's answers are replaced, since a machine without one is to pass this test too.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import torch

from torch_testing_shim._cases.world import default_ranks
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.backend_records import Backend, FoundBackend
from torch_testing_shim._engine.devices import (
    DeviceError,
    DeviceInUse,
    declares,
    device_in_use,
    fork_hazard,
    process_group_backend,
    recorded_backend,
)
from torch_testing_shim._engine.torch_versions import current_accelerator
from torch_testing_shim._shared.settings import Settings
from torch_testing_shim.common_distributed import at_least_x_gpu
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import NO_DEVICE_CHOSEN


def machine_with(count, accelerator="cuda"):
    """A context in which torch finds `count` accelerators of a type."""
    return mock.patch.multiple(
        devices,
        accelerator_type=lambda: accelerator,
        accelerator_count=lambda: count,
    )


def recorded(**values):
    """A context in which a package has a record of the device "cpu", and none of another."""
    found = FoundBackend(Backend("cpu", **values), "torch-gems 1.0")
    return mock.patch.object(devices, "backend_record", {"cpu": found}.get)


class Devices(TestCase):
    def test_without_accelerator(self):
        with machine_with(0, None):
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings()))
        with machine_with(0, "cuda"):  # torch was built for one, and none is there
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings()))

    def test_with_accelerators(self):
        with machine_with(2, "xpu"):
            self.assertEqual(DeviceInUse("xpu", 2), device_in_use(Settings()))
            self.assertEqual(DeviceInUse("xpu", 2, chosen=True), device_in_use(Settings(device="xpu:1")))
            self.assertEqual(DeviceInUse("cpu", 0, chosen=True), device_in_use(Settings(device="cpu")))

    def test_device_that_cannot_be_used(self):
        with machine_with(0, None):
            with self.assertRaisesRegex(DeviceError, "device 'cuda' was asked for, but torch finds none here"):
                device_in_use(Settings(device="cuda"))
            with self.assertRaisesRegex(DeviceError, "^unknown device 'gpuu'; torch knows cpu, cuda"):
                device_in_use(Settings(device="gpuu"))

    def test_leased_accelerators_are_all_that_there_are(self):
        with machine_with(4, "xpu"):
            device = device_in_use(Settings(device_indices=(1, 3)))
            self.assertEqual(DeviceInUse("xpu", 2, indices=(1, 3)), device)
            self.assertEqual([1, 3, 1], [device.index_of(rank) for rank in range(3)])
            self.assertFalse(device.has_room_for(3))
            chosen = device_in_use(Settings(device="xpu", device_indices=(2,)))
            self.assertEqual(DeviceInUse("xpu", 1, chosen=True, indices=(2,)), chosen)
            with self.assertRaisesRegex(DeviceError, "^xpu 4 was leased to this process, but torch finds 4 here$"):
                device_in_use(Settings(device_indices=(0, 4)))
        with machine_with(0, None):
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings(device_indices=(0,))))

    def test_ranks_share_the_accelerators_that_there_are(self):
        self.assertEqual([0, 1, 0], [DeviceInUse("xpu", 2).index_of(rank) for rank in range(3)])

    def test_room_for_ranks(self):
        self.assertTrue(DeviceInUse("cpu", 0).has_room_for(64))
        self.assertTrue(DeviceInUse("cuda", 4).has_room_for(4))
        self.assertFalse(DeviceInUse("cuda", 1).has_room_for(2))

    def test_ranks_may_share_devices(self):
        shared = Settings(share_devices=True, device_indices=(3,))
        with machine_with(4):
            device = device_in_use(shared)
            self.assertEqual(DeviceInUse("cuda", 1, indices=(3,), may_be_shared=True), device)
            self.assertEqual([3, 3], [device.index_of(rank) for rank in range(2)])
            self.assertEqual((True, None), (device.has_room_for(4), device.shortage(4)))
            self.assertEqual([False, True], [device.is_shared_by(ranks) for ranks in (1, 2)])
            self.assertFalse(device_in_use(Settings(share_devices=True)).is_shared_by(4))
        with machine_with(0, None):
            self.assertFalse(device_in_use(shared).is_shared_by(2))

    def test_ranks_count_where_they_share(self):
        with mock.patch.dict(os.environ, {**NO_DEVICE_CHOSEN, "TORCH_TESTING_SHIM_SHARE_DEVICES": "1"}):
            for count, ranks, of_dtensor in ((1, 4, 4), (2, 4, 4), (3, 4, 4), (8, 8, 4)):
                with machine_with(count):
                    self.assertTrue(at_least_x_gpu(count + 1))
                    self.assertEqual((ranks, of_dtensor), (default_ranks(), DTensorTestBase().world_size))
            with machine_with(0, None):
                self.assertFalse(at_least_x_gpu(1))

    def test_at_least_x_gpu(self):
        with mock.patch.dict(os.environ, NO_DEVICE_CHOSEN):
            with machine_with(1):
                self.assertEqual([True, False], [at_least_x_gpu(x) for x in (1, 2)])
            with machine_with(0, None):
                self.assertFalse(at_least_x_gpu(1))
                os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
                self.assertTrue(at_least_x_gpu(8))

    def test_backends_are_torchs(self):
        self.assertEqual("gloo", process_group_backend("cpu"))
        with self.assertRaisesRegex(DeviceError, "no process-group backend is registered for device 'vulkan'"):
            process_group_backend("vulkan")

    def test_a_recorded_backend_comes_before_torchs(self):
        self.assertIsNone(recorded_backend("cpu"))
        with recorded():
            self.assertEqual((None, "gloo"), (recorded_backend("cpu"), process_group_backend("cpu")))
        with recorded(pg_backend="cpu:gloo,meta:fake"):
            self.assertEqual("cpu:gloo,meta:fake", process_group_backend("cpu"))
        with recorded(pg_backend="fake"):
            self.assertEqual("fake", process_group_backend("cpu"))
        with (
            recorded(pg_backend="none_such"),
            self.assertRaisesRegex(
                DeviceError,
                r"^the backend record for 'cpu' \(torch-gems 1\.0\) names the process-group backend 'none_such', "
                "which torch does not know$",
            ),
        ):
            process_group_backend("cpu")

    def test_what_a_record_declares(self):
        with machine_with(0, None), recorded(capabilities=frozenset({"clock"})):
            self.assertEqual([True, False], [declares("clock"), declares("multicast_memory")])
        with machine_with(0, None), mock.patch.object(devices, "backend_record", {}.get):
            self.assertFalse(declares("clock"))

    def test_what_speaks_against_a_fork(self):
        initialized = mock.patch.object(devices, "initialized_accelerator", return_value="cpu")  # of a device recorded
        other = mock.patch.object(devices, "initialized_accelerator", return_value="xpu")
        refused = "cpu does not survive a fork, as torch-gems 1.0 says"
        hazard = "cpu has been initialized in the test process"
        with machine_with(0, None):
            for fork_safe, unused, used in ((None, None, hazard), (True, None, None), (False, refused, refused)):
                with self.subTest(fork_safe=fork_safe), recorded(fork_safe=fork_safe):
                    self.assertEqual(unused, fork_hazard())
                    with initialized:
                        self.assertEqual(used, fork_hazard())
            with recorded(fork_safe=True), other:
                self.assertEqual("xpu has been initialized in the test process", fork_hazard())

    def test_this_machine(self):
        accelerator = current_accelerator()
        expected = torch.accelerator.device_count() if accelerator is not None else 0
        self.assertEqual(expected, devices.accelerator_count())


if __name__ == "__main__":
    run_tests()
