"""Tests without ranks: they run in the test process itself."""

import torch
from gradient_average import buckets

from torch_testing_shim.common_utils import TestCase, run_tests


class Buckets(TestCase):
    def sizes(self, *numbers, size):
        return [[tensor.numel() for tensor in group] for group in buckets(map(torch.zeros, numbers), size)]

    def test_small_tensors_share_a_bucket(self):
        self.assertEqual([[2, 3], [4]], self.sizes(2, 3, 4, size=5))

    def test_a_large_tensor_has_a_bucket_of_its_own(self):
        self.assertEqual([[9], [1]], self.sizes(9, 1, size=5))

    def test_nothing(self):
        self.assertEqual([], self.sizes(size=5))


if __name__ == "__main__":
    run_tests()
