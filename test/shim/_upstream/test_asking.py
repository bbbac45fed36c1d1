"""Files that are prepared for the absence of a name are told of it, as they are upstream."""

import sys
import textwrap
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

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


class AskingTest(SampleTestCase):
    def test_what_may_be_absent_is(self):
        path = self.folder / "test_sample.py"
        path.write_text(textwrap.dedent(FILE))
        run = self.run_command("-m", "torch_testing_shim", str(path))
        self.assert_status(run, "Asking.test_absent", TestStatus.PASSED)
        self.assert_status(run, "Asking.test_needed", TestStatus.ERROR, "has no torch.testing._internal.*needed")


if __name__ == "__main__":
    run_tests()
