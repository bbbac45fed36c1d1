"""Stand-ins for missing names: a file that imports one loads, and whatever uses it fails."""

import sys
import textwrap
import unittest
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._upstream.missing import MissingName, MissingNameError
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

missing = MissingName("upstream.name", "test_x.py")

MESSAGE = "^the installed torch has no upstream.name, which test_x.py uses$"

# Things that a file may do while it is being loaded.
value_of_the_file = missing(3)

attribute_of_the_file = missing.attribute


FILE = """
    import contextlib
    import torch.testing._internal.common_utils as common
    from torch.testing._internal.common_utils import TestCase, run_tests

    try:
        from torch.testing._internal.common_utils import caught
    except (KeyError, ImportError):
        caught = "absent"
    try:
        from torch.testing._internal.common_utils import caught_by_all
    except:
        caught_by_all = "absent"
    suppressed = "absent"
    with contextlib.suppress(ImportError):
        from torch.testing._internal.common_utils import suppressed
    try:
        attribute = common.no_such_attribute
    except AttributeError:
        attribute = "absent"
    try:
        from torch.testing._internal.common_utils import needed
    except ValueError:
        needed = "absent"
    try:
        pass
    except ImportError:
        from torch.testing._internal.common_utils import also_needed

    class Asking(TestCase):
        def test_absent(self):
            self.assertEqual({"absent"}, {caught, caught_by_all, suppressed, attribute})
            self.assertFalse(hasattr(common, "no_such_name"))
            self.assertIsNone(getattr(common, "no_such_name", None))

        def test_needed(self):
            self.assertEqual("absent", needed)

    if __name__ == "__main__":
        run_tests()
"""


@missing
def decorated():
    return "was run"


@missing(1, other=2)
def decorated_with_arguments():
    return "was run"


def outcome_of(test_class):
    """The error that each test of a class ends with."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(test_class).run(result)
    return {test._testMethodName: text for test, text in result.errors}, result.testsRun


class Missing(TestCase):
    def test_every_use_in_a_function_fails(self):
        uses = [
            lambda: missing(),
            lambda: missing.attribute,
            lambda: bool(missing),
            lambda: list(missing),
            lambda: len(missing),
            lambda: missing[0],
            lambda: 1 in missing,
            lambda: missing == 1,
            lambda: missing < 1,
            lambda: missing + 1,
            lambda: int(missing),
            lambda: range(missing),
            lambda: missing.__enter__(),
            lambda: isinstance(1, missing),
            lambda: value_of_the_file(),
            lambda: bool(value_of_the_file),
            decorated,
            decorated_with_arguments,
        ]
        for number, use in enumerate(uses):
            with self.subTest(number), self.assertRaisesRegex(MissingNameError, MESSAGE):
                use()
        with self.assertRaisesRegex(MissingNameError, "no upstream.name.attribute, which"):
            attribute_of_the_file()

    def test_a_decorator_keeps_the_name_of_what_it_decorates(self):
        self.assertEqual("decorated", decorated.__name__)

    def test_tests_of_a_missing_base_are_found_and_fail(self):
        class Other(unittest.TestCase):
            pass

        for bases in ((missing,), (missing, Other), (Other, missing)):
            with self.subTest(bases):

                class Derived(*bases):
                    def test_own(self):
                        pass

                errors, count = outcome_of(Derived)
                self.assertEqual(1, count)
                self.assertIn("upstream.name, which test_x.py uses", errors["test_own"])

    def test_a_decorated_class_fails_in_each_test(self):
        class Decorated(unittest.TestCase):
            def test_a(self):
                pass

            def test_b(self):
                pass

        errors, count = outcome_of(missing._with_failing_tests(Decorated))
        self.assertEqual((2, {"test_a", "test_b"}), (count, set(errors)))

    def test_a_model_of_a_missing_base_cannot_be_made(self):
        class Model(missing):
            def forward(self, x):
                return x

        with self.assertRaisesRegex(MissingNameError, MESSAGE):
            Model(4)

    def test_it_can_be_shown_and_hashed(self):
        self.assertIn("upstream.name", repr(missing))
        self.assertEqual(1, len({missing: 1}.keys()))


class AskingTest(SampleTestCase):
    def test_what_may_be_absent_is(self):
        path = self.folder / "test_sample.py"
        path.write_text(textwrap.dedent(FILE))
        run = self.run_command("-m", "torch_testing_shim", str(path))
        self.assert_status(run, "Asking.test_absent", TestStatus.PASSED)
        self.assert_status(run, "Asking.test_needed", TestStatus.ERROR, "has no torch.testing._internal.*needed")


if __name__ == "__main__":
    run_tests()
