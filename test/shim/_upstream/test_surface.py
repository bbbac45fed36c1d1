"""`imported_names`: what a file takes from `torch.testing._internal`, read off its syntax."""

from torch_testing_shim._upstream.surface import Owner, imported_names, owner_of
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


class Owners(TestCase):
    def test_each_kind(self):
        import torch_testing_shim.common_utils as face

        for name, owner in (
            ("common_utils.TestCase", Owner.OURS),
            ("common_utils.TEST_CUDA", Owner.OURS),
            ("common_utils", Owner.OURS),
            ("common_utils.check_leaked_tensors", Owner.TORCHS),
            ("common_utils.floating_and_complex_types_and", Owner.TORCHS),  # of another module
            ("common_modules", Owner.TORCHS),
            ("opinfo.core.OpInfo", Owner.TORCHS),
            ("distributed.distributed_test.DistributedTest", Owner.TORCHS),  # which reads variables when it is run
            ("common_utils.no_such_name", Owner.ABSENT),
            ("no_such_module.name", Owner.ABSENT),
        ):
            with self.subTest(name):
                self.assertEqual(owner, owner_of(f"{UPSTREAM}.{name}"))
        self.assertTrue(face.check_leaked_tensors)  # taken over, it is torch's all the same
        self.assertEqual(Owner.TORCHS, owner_of(f"{UPSTREAM}.common_utils.check_leaked_tensors"))


if __name__ == "__main__":
    run_tests()
