"""hypothesis: properties that hold and one that does not, in one process and in ranks."""

import torch
from hypothesis import given, settings, strategies as st
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase, run_tests


class PropertiesTest(TestCase):
    @given(numbers=st.lists(st.integers(-100, 100), max_size=5))
    def test_sum(self, numbers):
        self.assertEqual(torch.tensor(numbers, dtype=torch.int64).sum().item(), sum(numbers))

    @given(number=st.integers(0, 100))
    @settings(deadline=None, max_examples=50)
    def test_does_not_hold(self, number):
        self.assertLess(number, 10)


class RanksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @given(size=st.integers(1, 8))
    @settings(deadline=None)
    def test_sizes(self, size):
        self.assertEqual(torch.zeros(size).numel(), size)


if __name__ == "__main__":
    run_tests()
