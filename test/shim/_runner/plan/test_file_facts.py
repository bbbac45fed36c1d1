"""What a file's source tells before it runs, and what is taken of one that cannot be read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch_testing_shim._runner.plan.file_facts import FileFacts, read_facts
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.command import FileCommand
from torch_testing_shim.common_utils import TestCase, run_tests


class Facts(TestCase):
    def facts(self, source: str | bytes | None) -> FileFacts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "test_x.py")
            if source is not None:
                path.write_bytes(source if isinstance(source, bytes) else source.encode())
            return read_facts(FileSelection("test_x"), lambda _: FileCommand("test_x", str(path), ("A.py_test",)))

    def test_what_it_imports_and_its_ranks(self) -> None:
        self.assertEqual(FileFacts(False, 1), self.facts("import unittest\n"))
        self.assertEqual(FileFacts(True, 1), self.facts("from torch import nn\n"))
        self.assertEqual(FileFacts(True, 3), self.facts("import torch\nclass A:\n    world_size = 3\n"))

    def test_a_file_that_cannot_be_read(self) -> None:
        self.assertEqual(FileFacts(), self.facts(None))
        self.assertEqual(FileFacts(False, 1), self.facts(b"\xff\x00 world_size = "))


if __name__ == "__main__":
    run_tests()
