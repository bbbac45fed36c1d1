"""Modules that only torch has, imported by this package's name."""

import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch

import torch_testing_shim
from torch_testing_shim._upstream.modules import home_of, install, source_file
from torch_testing_shim.common_utils import TestCase, run_tests

FOLDER = Path(torch.__file__).parent / "testing" / "_internal"


class Modules(TestCase):
    def test_a_module_is_torchs_file_under_our_name(self):
        import torch_testing_shim.logging_tensor as module

        self.assertEqual("torch_testing_shim.logging_tensor", module.__name__)
        self.assertTrue(module.__file__.endswith("torch/testing/_internal/logging_tensor.py"))
        self.assertEqual("torch_testing_shim.logging_tensor", module.LoggingTensor.__module__)
        self.assertIn("class LoggingTensor", inspect.getsource(module.LoggingTensor))
        self.assertIs(module, torch_testing_shim.logging_tensor)

    def test_packages_and_what_is_below_them(self):
        core = importlib.import_module("torch_testing_shim.opinfo.core")
        package = sys.modules["torch_testing_shim.opinfo"]
        self.assertEqual([], list(package.__path__))  # nothing is found there but by the finder
        self.assertIs(core, package.core)
        self.assertIs(core.OpInfo, package.core.OpInfo)

    def test_a_module_that_nobody_has(self):
        for name in ("no_such_module", "opinfo.no_such_module"):
            with self.assertRaises(ModuleNotFoundError):
                importlib.import_module(f"torch_testing_shim.{name}")
        with self.assertRaises(AttributeError):
            _ = torch_testing_shim.no_such_module

    def test_a_module_that_nobody_has_imported_is_an_attribute(self):
        self.assertTrue(torch_testing_shim.distributed.distributed_utils.with_fake_comms)

    def test_the_finder_is_there_once_and_last(self):
        install()
        ours = [finder for finder in sys.meta_path if type(finder).__module__ == install.__module__]
        self.assertEqual(1, len(ours))
        self.assertIsNone(importlib.util.find_spec("no_such_package_at_all"))

    def test_a_name_that_it_has_not_is_looked_for_elsewhere(self):
        module = importlib.import_module("torch_testing_shim.logging_tensor")
        from torch_testing_shim.common_dtype import floating_and_complex_types_and

        self.assertIs(floating_and_complex_types_and, module.floating_and_complex_types_and)
        with self.assertRaisesRegex(AttributeError, "neither has torch's module of that name"):
            _ = module.no_such_name

    def test_a_name_that_a_test_has_deleted_stays_away(self):
        module = importlib.import_module("torch_testing_shim.logging_tensor")
        with mock.patch.object(module, "LoggingTensor"):
            del module.LoggingTensor
            with self.assertRaisesRegex(AttributeError, "has no attribute 'LoggingTensor' now"):
                _ = module.LoggingTensor
        self.assertIn("class LoggingTensor", inspect.getsource(module.LoggingTensor))


class Sources(TestCase):
    def test_files(self):
        self.assertEqual(FOLDER / "common_utils.py", source_file("common_utils"))
        self.assertEqual(FOLDER / "opinfo" / "__init__.py", source_file("opinfo"))
        self.assertEqual(FOLDER / "opinfo" / "core.py", source_file("opinfo.core"))
        self.assertEqual(FOLDER / "__init__.py", source_file(""))
        for name in ("no_such_module", "common_utils.TestCase", "opinfo.no_such_module"):
            self.assertIsNone(source_file(name))

    def test_homes(self):
        self.assertEqual("common_dtype", home_of("floating_and_complex_types_and", besides="common_utils"))
        self.assertIsNone(home_of("floating_and_complex_types_and", besides="common_dtype"))
        self.assertIsNone(home_of("no_such_name", besides=""))
        self.assertIsNone(home_of("with_comms", besides=""))  # two modules have one

    def test_torch_is_not_imported(self):
        code = (
            "import sys, torch_testing_shim._upstream.modules as modules\n"
            "print(modules.source_file('common_utils') is not None, 'torch' in sys.modules)\n"
        )
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual("True False\n", printed.stdout)


if __name__ == "__main__":
    run_tests()
