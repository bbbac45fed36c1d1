"""assertExpectedInline, right and wrong, in one process and in ranks."""

from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase, run_tests


class TextsTest(TestCase):
    def test_right(self):
        self.assertExpectedInline("one\ntwo", """one\ntwo""")

    def test_wrong(self):
        self.assertExpectedInline("one", """two""")

    def test_error_message(self):
        self.assertExpectedRaisesInline(ValueError, lambda: int("x"), """invalid literal for int() with base 10: 'x'""")


class RanksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_right(self):
        self.assertExpectedInline(str(self.world_size), """2""")

    def test_right_on_one_rank_alone(self):
        self.assertExpectedInline(str(self.rank), """0""")


if __name__ == "__main__":
    run_tests()
