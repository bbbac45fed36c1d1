"""TestCase alone: assertions of tensors and numbers, right and wrong; gates by speed and build; expected failures."""

import unittest
import warnings

import torch
from torch.testing._internal.common_utils import (
    TestCase,
    run_tests,
    skipIfTorchDynamo,
    slowTest,
    suppress_warnings,
)


class AssertionsTest(TestCase):
    def test_close(self):
        self.assertEqual(torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]))
        self.assertEqual({"a": [torch.ones(1), 2]}, {"a": [torch.ones(1), 2]})

    def test_not_equal(self):
        self.assertNotEqual(torch.ones(1), torch.ones(1))

    def test_message(self):
        with self.assertRaisesRegex(AssertionError, "the reason"):
            self.assertEqual(1, 2, msg="the reason")

    @slowTest
    def test_slow(self):
        self.fail("must not run without being asked for")

    @skipIfTorchDynamo("not under dynamo")
    def test_without_dynamo(self):
        self.assertEqual(1, 1)

    @suppress_warnings
    def test_warnings(self):
        warnings.warn("nobody sees this", stacklevel=1)

    @unittest.expectedFailure
    def test_expected(self):
        self.assertEqual(torch.ones(1), torch.zeros(1))

    @unittest.expectedFailure
    def test_unexpected_success(self):
        self.assertEqual(torch.ones(1), torch.ones(1))

    def test_random_numbers_repeat_a(self):
        self.assertEqual(torch.rand(1), self.first_random())

    def test_random_numbers_repeat_b(self):
        self.assertEqual(torch.rand(1), self.first_random())

    def first_random(self):
        if not hasattr(type(self), "random"):
            torch.manual_seed(torch.initial_seed())
            type(self).random = torch.rand(1)
        return self.random


if __name__ == "__main__":
    run_tests()
