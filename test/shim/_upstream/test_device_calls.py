"""What `torch.cuda` and `torch.accelerator` answer in a run that maps devices: the answers, nothing patched."""

import torch

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.device_calls import AcceleratorCalls, DeviceCalls
from torch_testing_shim._upstream.simulated_devices import SimulatedDevices
from torch_testing_shim.common_utils import TestCase, run_tests


class Calls(TestCase):
    def setUp(self):
        super().setUp()
        simulated = SimulatedDevices(DeviceMap("cuda", "cpu", 3))
        self.cuda, self.accelerator = DeviceCalls(simulated), AcceleratorCalls(simulated)
        self.addCleanup(self.cuda.set_device, 0)

    def test_both_answer_alike(self):
        self.cuda.set_device(2)
        self.assertEqual((2, 2), (self.cuda.current_device(), self.accelerator.current_device_index()))
        self.accelerator.set_device_index(1)
        self.assertEqual(
            (1, 3, 3), (self.cuda.current_device(), self.cuda.device_count(), self.accelerator.device_count())
        )
        self.assertIs(self.cuda.current_stream(), self.accelerator.current_stream())

    def test_random_numbers_are_those_of_the_other_device(self):
        self.cuda.manual_seed_all(7)
        state = self.cuda.get_rng_state("cuda")
        first = torch.rand(3)
        self.cuda.set_rng_state(state, "cuda")
        self.assertEqual(first, torch.rand(3))
        torch.manual_seed(7)
        self.assertEqual(first, torch.rand(3))
        self.assertEqual(3, len(self.cuda.default_generators))

    def test_memory(self):
        free, whole = self.cuda.mem_get_info()
        self.assertGreater(whole, free)
        self.assertEqual(0, self.cuda.memory_stats()["num_ooms"])
        self.assertEqual("simulated cuda (cpu): no memory of its own", self.cuda.memory_summary())

    def test_the_runtime(self):
        self.assertEqual(0, self.cuda.cudart().cudaHostRegister(0, 8, 0))
        with self.assertRaisesRegex(NotImplementedError, r"torch.cuda.cudart\(\).cudaMalloc: --map-device cuda=cpu"):
            self.cuda.cudart().cudaMalloc(8)

    def test_a_kept_mode(self):
        self.cuda.set_sync_debug_mode("warn")
        self.assertEqual(1, self.cuda.get_sync_debug_mode())


if __name__ == "__main__":
    run_tests()
