"""parametrize in one process: nested, with names of its own, with subtests and their decorators."""

import unittest

from torch.testing._internal.common_utils import (
    TestCase,
    instantiate_parametrized_tests,
    parametrize,
    run_tests,
    subtest,
)


def spell(value):
    return "even" if value % 2 == 0 else "odd"


class ParametrizeTest(TestCase):
    @parametrize("base", [2, 3])
    @parametrize("exponent", [0, 1])
    def test_nested(self, base, exponent):
        self.assertEqual(base**exponent, base if exponent else 1)

    @parametrize("value", [1, 2], name_fn=spell)
    def test_named(self, value):
        self.assertEqual(self._testMethodName, f"test_named_{spell(value)}")

    @parametrize("left,right", [(1, 1), subtest((2, 2), name="twos"), subtest((3, 4), name="unequal")])
    def test_pairs(self, left, right):
        self.assertEqual(left, right)

    @parametrize(
        "number",
        [
            subtest(1, decorators=[unittest.skip("not one")]),
            subtest(2, decorators=[unittest.expectedFailure]),
            subtest(3, decorators=[unittest.expectedFailure]),
            4,
        ],
    )
    def test_decorated(self, number):
        self.assertNotEqual(number, 2)

    @unittest.skip("as a whole")
    @parametrize("flag", [True, False])
    def test_skipped(self, flag):
        self.fail("must not run")


instantiate_parametrized_tests(ParametrizeTest)

if __name__ == "__main__":
    run_tests()
