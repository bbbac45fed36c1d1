"""Modules that only torch has, imported by this package's name."""

import importlib
import importlib.util
import inspect
import sys

import torch_testing_shim
from torch_testing_shim._upstream.modules import install
from torch_testing_shim.common_utils import TestCase, run_tests


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


if __name__ == "__main__":
    run_tests()
