"""run_subtests and unittest's subTest, in one process and in ranks, right and wrong."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import run_subtests
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class SubTestsTest(TestCase):
    def test_right(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.assertGreater(number, 0)

    def test_one_is_wrong(self):
        for number in (1, 2, 3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 2)

    def test_one_skips(self):
        for number in (1, 2):
            with self.subTest(number=number):
                if number == 2:
                    self.skipTest("not two")


class RankSubTestsTest(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_configurations(self):
        self.seen = []
        self.run_subtests({"size": [1, 2], "value": [0.5, 3.0]}, self._test_sum, "label", extra=True)
        self.assertEqual(self.seen, [(1, 0.5), (1, 3.0), (2, 0.5), (2, 3.0)])

    def _test_sum(self, label, size, value, extra):
        self.assertEqual((label, extra), ("label", True))
        tensor = torch.full((size,), value)
        dist.all_reduce(tensor)
        self.assertEqual(tensor, torch.full((size,), 2 * value))
        self.seen.append((size, value))

    @with_comms
    def test_function(self):
        run_subtests(self, {"flag": [True, False]}, lambda flag: self.assertIsInstance(flag, bool))

    @with_comms
    def test_one_configuration_is_wrong(self):
        self.run_subtests({"size": [1, 2]}, lambda size: self.assertEqual(size, 1))

    @with_comms
    def test_plain_sub_tests(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.assertNotEqual(number, 2)


if __name__ == "__main__":
    run_tests()
