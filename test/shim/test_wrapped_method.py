"""What the base classes of tests with ranks do with the method that they are made for."""

import unittest

from torch_testing_shim._wrapped_method import chosen_name, wrap_method
from torch_testing_shim.common_utils import TestCase, run_tests


class WrappedMethod(TestCase):
    def test_either_spelling_names_the_method(self):
        self.assertEqual("test_a", chosen_name("test_a", "runTest"))
        self.assertEqual("test_a", chosen_name("runTest", "test_a"))
        self.assertEqual("runTest", chosen_name("runTest", "runTest"))

    def test_the_instance_runs_what_was_wrapped(self):
        class Case(unittest.TestCase):
            def test_a(self):
                return "plain"

        case, other = Case("test_a"), Case("test_a")
        wrap_method(case, "test_a", lambda method: lambda: f"wrapped {method()}")
        self.assertEqual(("wrapped plain", "plain"), (case.test_a(), other.test_a()))

    def test_a_method_that_is_not_there(self):
        wrap_method(unittest.TestCase(), "runTest", lambda method: self.fail("there is nothing to wrap"))
        with self.assertRaisesRegex(ValueError, "there is no test method 'test_b' in"):
            wrap_method(unittest.TestCase(), "test_b", lambda method: method)


if __name__ == "__main__":
    run_tests()
