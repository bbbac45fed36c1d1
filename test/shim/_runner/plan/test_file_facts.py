"""Facts that a file's source tells before it runs, and those of one that cannot be read."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.file_facts import FileFacts, imports_torch, ranks_in_source, read_facts
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

BASE = "class T(DTensorTestBase):\n"


class Facts(TestCase):
    def facts(self, source: str | bytes | None) -> FileFacts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "test_x.py")
            if source is not None:
                path.write_bytes(source if isinstance(source, bytes) else source.encode())
            return read_facts(path)

    def test_what_it_imports_and_its_ranks(self) -> None:
        self.assertEqual(FileFacts(False, 1), self.facts("import unittest\n"))
        self.assertEqual(FileFacts(True, 1), self.facts("from torch import nn\n"))
        self.assertEqual(FileFacts(True, 3), self.facts("import torch\nclass A:\n    world_size = 3\n"))

    def test_a_file_that_cannot_be_read(self) -> None:
        self.assertEqual(FileFacts(), self.facts(None))
        self.assertEqual(FileFacts(False, 1), self.facts(b"\xff\x00 world_size = "))


class TorchTest(TestCase):
    def test_which_sources_import_torch(self) -> None:
        for source in (
            b"import torch\n",
            b"x = 1\nfrom torch.distributed import y",
            b"import torch_testing_shim.common_utils",
        ):
            self.assertTrue(imports_torch(source), source)
        for source in (
            b"import torchvision_like",
            b"# import torch",
            b"from torch_testing_shim._shared.journal import J",
            b"",
        ):
            self.assertFalse(imports_torch(source), source)


class RanksTest(TestCase):
    def test_ranks_that_are_written_down(self) -> None:
        cases = {
            "import unittest\n": 1,
            BASE + "    pass\n": 4,
            BASE + "    world_size = 1\n": 1,
            BASE + "    world_size = 2\nother = 9\n": 2,
            BASE + "    world_size: int = 8\n": 8,
            BASE + "    @property\n    def world_size(self):\n        return 3\n": 3,
            "RANKS = 6\n" + BASE + "    @property\n    def world_size(self) -> int:\n        return RANKS\n": 6,
            BASE + "    world_size = 2\nclass U(T):\n    world_size = 16\n": 16,
            BASE + "    @property\n    def world_size(self):\n        return torch.cuda.device_count()\n": 4,
            "def f():\n    init_process_group(world_size=5)\n": 5,
            BASE + "    world_size = True\n": 4,
            "class T(DTensorTestBase:\n": 1,
        }
        for source, ranks in cases.items():
            self.assertEqual(ranks, ranks_in_source(source.encode()), source)

    @given(st.binary())
    def test_any_file_needs_at_least_one(self, source: bytes) -> None:
        self.assertGreaterEqual(ranks_in_source(b"world_size" + source), 1)


if __name__ == "__main__":
    run_tests()
