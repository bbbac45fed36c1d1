"""Which classes a test file's source holds."""

from __future__ import annotations

from torch_testing_shim._runner.expectations.test_classes import TestClasses, read_classes
from torch_testing_shim.common_utils import TestCase, run_tests

SOURCE = """
if True:
    class Plain: pass
class Generic(Plain):
    class Inner: pass
class Other: pass
instantiate_device_type_tests(Generic, globals(), only_for="cpu")
common.instantiate_device_type_tests(Other, globals())
instantiate_parametrized_tests(Plain)
"""


class TestClassesTest(TestCase):
    def test_classes_and_which_are_generic(self) -> None:
        expected = TestClasses(frozenset({"Plain", "Generic", "Inner", "Other"}), frozenset({"Generic", "Other"}))
        self.assertEqual(expected, read_classes(SOURCE))

    def test_what_is_no_python_has_none(self) -> None:
        for source in ("class A(:", "\0", ""):
            self.assertEqual(TestClasses(), read_classes(source))


if __name__ == "__main__":
    run_tests()
