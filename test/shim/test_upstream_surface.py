"""`imported_names`: what a file takes from `torch.testing._internal`, read off its syntax."""

from torch_testing_shim._upstream.surface import imported_names
from torch_testing_shim.common_utils import TestCase, run_tests

UPSTREAM = "torch.testing._internal"


class ImportedNames(TestCase):
    def names(self, source):
        return {name.removeprefix(f"{UPSTREAM}.") for name in imported_names(source)}

    def test_spellings(self):
        both = {"common_utils.run_tests", "common_utils.TestCase"}
        for source, expected in (
            (f"from {UPSTREAM}.common_utils import run_tests, TestCase as T", both),
            (f"import {UPSTREAM}.common_utils as c\nc.run_tests()\nc.TestCase.setUp", both),
            (f"import {UPSTREAM}.common_utils\n{UPSTREAM}.common_utils.run_tests()", {"common_utils.run_tests"}),
            (f"from {UPSTREAM} import common_utils\ncommon_utils.slowTest", {"common_utils.slowTest"}),
            (f"from {UPSTREAM} import common_utils", {"common_utils"}),
            (f"from {UPSTREAM}.common_utils import *", {"common_utils.*"}),
            (f"def f():\n    from {UPSTREAM}.new_module import thing", {"new_module.thing"}),
            ("from torch.testing import assert_close\nimport torch\ntorch.testing.assert_close", set()),
            ("from .common_utils import run_tests", set()),
        ):
            with self.subTest(source):
                self.assertEqual(expected, self.names(source))


if __name__ == "__main__":
    run_tests()
