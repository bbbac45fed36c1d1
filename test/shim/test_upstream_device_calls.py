"""What `torch.cuda.*` answers in a run that maps devices: the answers themselves, nothing patched."""

import torch

from torch_testing_shim._device_map import DeviceMap
from torch_testing_shim._upstream.device_calls import SimulatedEvent, SimulatedStream, _answers
from torch_testing_shim.common_utils import TestCase, run_tests


class DeviceCalls(TestCase):
    def setUp(self):
        super().setUp()
        self.answers = _answers(DeviceMap("cuda", "cpu", 3))

    def test_every_answer_is_for_a_call_that_torch_has(self):
        self.assertEqual([], [name for name in self.answers if not hasattr(torch.cuda, name)])

    def test_devices(self):
        ask = self.answers
        self.assertEqual((True, 3), (ask["is_available"](), ask["device_count"]()))
        ask["set_device"](2)
        self.assertEqual(2, ask["current_device"]())
        with ask["device"](1):
            self.assertEqual(1, ask["current_device"]())
            with ask["device"](-1):  # torch's way to say "none"
                self.assertEqual(1, ask["current_device"]())
        self.assertEqual(2, ask["current_device"]())
        self.assertEqual("cuda simulated on cpu", ask["get_device_name"](0))
        self.assertEqual((0, None), (ask["memory_allocated"](0), ask["synchronize"]()))

    def test_streams_and_events(self):
        stream, start, end = SimulatedStream(), SimulatedEvent(enable_timing=True), SimulatedEvent()
        with self.assertRaisesRegex(RuntimeError, "both events must be recorded"):
            start.elapsed_time(end)
        start.record()
        with self.answers["stream"](stream) as current:
            current.wait_stream(self.answers["current_stream"]())
            stream.record_event(end)
        self.assertGreater(start.elapsed_time(end), 0.0)
        self.assertTrue(stream.query() and end.query())

    def test_random_numbers_are_those_of_the_other_device(self):
        self.answers["manual_seed_all"](7)
        state = self.answers["get_rng_state"]()
        first = torch.rand(3)
        self.answers["set_rng_state"](state, "cuda")
        self.assertEqual(first, torch.rand(3))
        torch.manual_seed(7)
        self.assertEqual(first, torch.rand(3))


if __name__ == "__main__":
    run_tests()
