"""Simulated devices: indices, streams and events of a thread."""

import threading

import torch

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.simulated_devices import (
    DeviceProperties,
    SimulatedDevices,
    SimulatedEvent,
    SimulatedStream,
)
from torch_testing_shim.common_utils import TestCase, run_tests


class Simulated(TestCase):
    def setUp(self):
        super().setUp()
        self.devices = SimulatedDevices(DeviceMap("cuda", "cpu", 3))
        self.addCleanup(self.devices.choose, 0)

    def test_indices(self):
        self.assertEqual(0, self.devices.choose(2))
        self.assertEqual(
            [1, 1, 0, 2, 2], [self.devices.index_of(d) for d in (1, "cuda:1", torch.device("cuda", 0), None, "cuda")]
        )
        with self.devices.chosen(1):
            self.assertEqual(1, self.devices.index)
            with self.devices.chosen(-1):  # torch's way to say "none"
                self.assertEqual(1, self.devices.index)
        self.assertEqual(2, self.devices.index)
        with self.assertRaisesRegex(RuntimeError, "invalid device ordinal: cuda 3 of 3 simulated devices"):
            self.devices.choose(3)

    def test_each_thread_has_its_own(self):
        seen = []
        self.devices.choose(2)
        with SimulatedStream():
            thread = threading.Thread(target=lambda: seen.append((self.devices.index, self.devices.stream)))
            thread.start()
            thread.join()
        self.assertEqual([(0, self.devices.default_stream)], seen)

    def test_streams_nest(self):
        one, other = SimulatedStream(device="cuda:1", priority=-1), SimulatedStream()
        with one:
            with other:
                self.assertIs(other, self.devices.stream)
                other.wait_stream(one)
            self.assertIs(one, self.devices.stream)
        self.assertIs(self.devices.default_stream, self.devices.stream)
        self.assertNotEqual(one, other)
        self.assertTrue(one.query() and isinstance(one, torch.Stream))

    def test_events(self):
        start, end = SimulatedEvent(enable_timing=True), SimulatedEvent()
        with self.assertRaisesRegex(RuntimeError, "both events must be recorded"):
            start.elapsed_time(end)
        start.record()
        SimulatedStream().record_event(end)
        self.assertGreater(start.elapsed_time(end), 0.0)
        self.assertTrue(end.query())

    def test_unknown_properties(self):
        with self.assertRaisesRegex(AttributeError, "'uuid' is not known of the device 'x'"):
            DeviceProperties("x", 1).uuid  # noqa: B018 - it raises


if __name__ == "__main__":
    run_tests()
