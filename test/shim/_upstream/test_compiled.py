"""Compiled grafts: kept where they can be, made again where the source or the file is another, by several at once."""

import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

from torch_testing_shim._shared import atomic_write
from torch_testing_shim._shared.settings import changed_environment
from torch_testing_shim._upstream import compiled
from torch_testing_shim.common_utils import TestCase, run_tests


class Compiled(TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory()) if sys.version_info >= (3, 11) else tempfile.mkdtemp()
        self.caches = Path(folder, "caches")
        self.source = Path(folder, "module.py")
        self.source.write_text("x = 1\n")
        environment = changed_environment({"XDG_CACHE_HOME": str(self.caches)})
        environment.__enter__()
        self.addCleanup(environment.__exit__, None, None, None)

    def value_of_x(self):
        names = {}
        exec(compiled.module_code("module", self.source), names)
        return names["x"]

    def kept(self):
        return [path for path in self.caches.rglob("*") if path.is_file()]

    def test_it_is_compiled_once(self):
        self.assertEqual(1, self.value_of_x())
        [path] = self.kept()
        self.assertEqual("module.whole", path.name)
        with mock.patch.object(compiled, "whole_code", side_effect=AssertionError("compiled again")):
            self.assertEqual(1, self.value_of_x())

    def test_another_source_is_compiled_again(self):
        self.value_of_x()
        before = self.source.stat()
        self.source.write_text("x = 2\n")  # of the same size
        os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        self.assertEqual(2, self.value_of_x())
        self.source.write_text("x = 22\n")
        os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        self.assertEqual(22, self.value_of_x())

    def test_a_file_that_is_cut_short_or_something_else_is_made_again(self):
        self.value_of_x()
        [path] = self.kept()
        for content in (b"", path.read_bytes()[:20], b"something else"):
            path.write_bytes(content)
            self.assertEqual(1, self.value_of_x())
            self.assertGreater(len(path.read_bytes()), 20)

    def test_without_a_folder_nothing_is_kept(self):
        self.caches.write_text("a file")
        self.assertEqual(1, self.value_of_x())
        with changed_environment({"XDG_CACHE_HOME": "not/absolute"}):
            self.assertEqual(1, self.value_of_x())
        self.assertFalse(Path("not").exists())

    def test_statements_come_back_as_they_were(self):
        first = compiled.module_statements("module", self.source)
        self.assertEqual(first, compiled.module_statements("module", self.source))
        self.assertEqual([("x",)], [each.binds for each in first])

    def test_a_writer_that_is_interrupted_leaves_nothing(self):
        broken = types.SimpleNamespace(**{**vars(os), "replace": self.interrupt})
        with mock.patch.object(atomic_write, "os", broken), self.assertRaises(KeyboardInterrupt):
            self.value_of_x()
        self.assertEqual([], self.kept())

    def interrupt(self, *_):
        raise KeyboardInterrupt

    def test_several_processes_at_once(self):
        self.source.write_text("x = 1\n" * 20000)
        code = (
            "import sys, pathlib\nfrom torch_testing_shim._upstream.compiled import module_statements\n"
            "print(len(module_statements('module', pathlib.Path(sys.argv[1]))))\n"
        )
        command = [sys.executable, "-c", code, str(self.source)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [process.communicate(timeout=200)[0] for process in processes]
        self.assertEqual(["20000\n"] * 2, printed)
        self.assertEqual(1, len(self.kept()))


if __name__ == "__main__":
    run_tests()
