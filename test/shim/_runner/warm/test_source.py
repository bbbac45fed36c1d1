"""Facts that a source tells before it is run: its imports, and whether it prepares them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.warm.source import FileSource, preparing_conftest, read_source
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given


class SourceTest(TestCase):
    def test_imports_from_torch_and_from_here(self) -> None:
        source = (
            b"import os, torch.nn as nn\nfrom torch.distributed import fsdp, all_reduce\nfrom torch import *\n"
            b"from . import torch\nimport torchvision\nfrom torch_testing_shim.common_utils import TestCase\n"
            b"def later():\n    import torch.fx\n"
        )
        self.assertExpectedInline(
            "\n".join(read_source(source).imports),
            """\
torch.nn
torch.distributed
torch.distributed.fsdp
torch.distributed.all_reduce
torch
torch_testing_shim.common_utils
torch_testing_shim.common_utils.TestCase""",
        )

    def test_a_conftest_that_prepares_an_import(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, conftest = Path(folder) / "a" / "test_x.py", Path(folder) / "conftest.py"
            path.parent.mkdir()
            (path.parent / "conftest.py").write_text("def f(): os.environ['A'] = '1'\n")
            self.assertIsNone(preparing_conftest(str(path)))
            conftest.write_text("os.environ['A'] = '1'\n")
            self.assertEqual(str(conftest), preparing_conftest(str(path)))

    def test_names_of_nested_code(self) -> None:
        self.assertLessEqual(
            {"optim", "SGD"}, read_source(b"class A:\n    def f(self):\n        torch.optim.SGD()\n").names
        )

    def test_what_prepares_an_import_and_what_does_not(self) -> None:
        for before in (
            b"os.environ['A'] = '1'\n",
            b"if x:\n    os.putenv('A', 'b')\n",
            b"from os import environ as e\n",
        ):
            self.assertTrue(read_source(before + b"import torch\n").prepares_imports, before)
        for harmless in (
            b"import torch\nos.environ['A'] = '1'\n",
            b"def f():\n    os.environ\nimport torch\n",
            b"os.environ\n",
        ):
            self.assertFalse(read_source(harmless).prepares_imports, harmless)

    @given(st.binary())
    def test_of_what_is_no_python_there_is_nothing_to_say(self, source: bytes) -> None:
        self.assertEqual(FileSource(), read_source(b"(" + source.replace(b")", b"")))


if __name__ == "__main__":
    run_tests()
