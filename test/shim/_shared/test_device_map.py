"""`parse_device_map`: "cuda=cpu" and what is none."""

from torch_testing_shim._shared.device_map import SIMULATED_DEVICES, DeviceMap, parse_device_map
from torch_testing_shim.common_utils import TestCase, run_tests


class ParseDeviceMap(TestCase):
    def test_a_map(self):
        found = parse_device_map("cuda=cpu")
        self.assertEqual(DeviceMap("cuda", "cpu", SIMULATED_DEVICES), found)
        self.assertEqual(("cuda=cpu", "mapped: cuda was cpu"), (str(found), found.mark))

    def test_what_is_none(self):
        for text in ("", "cuda", "=cpu", "cuda=", "cuda:0=cpu", "cuda=cpu=xpu", "a b=c"):
            with self.subTest(text), self.assertRaisesRegex(ValueError, "maps no device type to another"):
                parse_device_map(text)
        with self.assertRaisesRegex(ValueError, "'cpu=cpu' maps a device type to itself"):
            parse_device_map("cpu=cpu")


if __name__ == "__main__":
    run_tests()
