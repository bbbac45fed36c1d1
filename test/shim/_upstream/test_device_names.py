"""Names of devices among arguments. What replacing them in torch does, `test_mapped_devices` sees."""

import pickle

import torch

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.device_names import DeviceNames, Replacement
from torch_testing_shim.common_utils import TestCase, run_tests


class Names(TestCase):
    names = DeviceNames(DeviceMap("cuda", "cpu"))

    def test_what_names_the_device(self):
        for value, expected in (
            ("cuda", "cpu"),
            ("cuda:1", "cpu"),
            ("torch.cuda.FloatTensor", "torch.FloatTensor"),
            (torch.device("cpu", 3), torch.device("cpu")),  # what torch.device("cuda:3") is then
            ("xpu:1", "xpu:1"),
            ("cudagraphs", "cudagraphs"),
            (torch.device("meta"), torch.device("meta")),
            (3, 3),
            (None, None),
        ):
            with self.subTest(value):
                self.assertEqual(expected, self.names.renamed(value))

    def test_a_number_is_a_device_where_only_a_device_can_be(self):
        self.assertEqual([torch.device("cpu"), -1, True], [self.names.device(value) for value in (2, -1, True)])

    def test_calls(self):
        def call(*args, **kwargs):
            return args, kwargs

        self.assertEqual(
            ((2, "cpu"), {"device": torch.device("cpu"), "size": 1}), self.names.call(call, 2, "cuda", device=1, size=1)
        )

    def test_defaults(self):
        self.assertEqual("cpu", self.names.call_with_defaults(lambda device="cuda:1": device))

    def test_a_replacement_is_known_as_the_function(self):
        made = Replacement(torch.ones, lambda *args: ("mine", args))
        self.assertEqual({made: 1, torch.zeros: 2}[torch.ones], 1)
        self.assertTrue(made == torch.ones and torch.ones == made and made != torch.zeros)
        self.assertEqual(("mine", (1,)), made(1))
        self.assertEqual(("torch", "ones"), (made.__module__, made.__name__))
        with self.assertRaises(pickle.PicklingError):
            pickle.dumps(made)  # it is not in torch's place


if __name__ == "__main__":
    run_tests()
