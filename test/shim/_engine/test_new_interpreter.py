"""A new interpreter becomes like the test process: what spawned ranks have of pytest's, and modules of no folder."""

import sys
import tempfile
import textwrap
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.new_interpreter import import_module
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SAMPLE_HEAD, SampleTestCase

FILE = """
class One(DTensorTestBase):
    world_size = 1

    def test_body(self):
        found = [torch.set_by_conftest, self.rank]
        assert found == [1, 1]
"""


class SpawnedByPytest(SampleTestCase):
    is_cold = True  # what is imported, and when, is the matter

    def test_conftest_is_imported_and_asserts_are_explained(self):
        (self.folder / "conftest.py").write_text("import torch\ntorch.set_by_conftest = 1\n")
        (self.folder / "test_x.py").write_text(SAMPLE_HEAD + textwrap.dedent(FILE))
        options = ("-W", "error", "-p", "no:cacheprovider", "test_x.py")
        run = self.run_command("-m", "pytest", *options, TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertIn("rank 0 failed: AssertionError: assert [1, 0] == [1, 1]\n", run.output)
        self.assert_nothing_left()


class ImportModule(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "x.py"
        self.file.write_text("NUMBER = 3\n")
        patch = mock.patch.dict(sys.modules)
        patch.start()
        self.addCleanup(patch.stop)

    def test_one_that_is_there(self):
        self.assertIs(sys.modules[__name__], import_module(__name__, str(self.file)))

    def test_by_name_before_by_file(self):
        sys.modules.pop("colorsys", None)
        self.assertFalse(hasattr(import_module("colorsys", str(self.file)), "NUMBER"))

    def test_by_file(self):
        module = import_module("only.by.file", str(self.file))
        self.assertEqual(3, module.NUMBER)
        self.assertIs(module, import_module("only.by.file", None))

    def test_neither(self):
        with self.assertRaisesRegex(ImportError, "^a rank cannot import the test's module 'only.by.file'$"):
            import_module("only.by.file", None)


if __name__ == "__main__":
    run_tests()
