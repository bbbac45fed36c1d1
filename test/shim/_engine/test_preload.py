"""Modules that the zygote imports ahead, read off the names in test code."""

import types
import unittest

from torch_testing_shim._engine.preload import modules_to_preload, names_in_module
from torch_testing_shim.common_utils import run_tests


def module_of(source):
    module = types.ModuleType("sample")
    exec(compile(source, "sample.py", "exec"), module.__dict__)
    return module


class Preload(unittest.TestCase):
    def names(self, source):
        return names_in_module(module_of(source))

    def test_names_of_methods_nested_functions_properties_and_wrapped_ones(self):
        names = self.names(
            "import functools\n"
            "def wrap(f):\n"
            "    @functools.wraps(f)\n"
            "    def wrapper(*args):\n"
            "        return f(*args)\n"
            "    return wrapper\n"
            "class Case:\n"
            "    @property\n"
            "    def p(self): return torch.in_property\n"
            "    @staticmethod\n"
            "    def s(): return torch.in_static\n"
            "    @wrap\n"
            "    def m(self):\n"
            "        def nested(): return torch.in_nested\n"
            "        return nested\n"
        )
        self.assertLessEqual({"in_property", "in_static", "in_nested"}, names)

    def test_classes_that_hold_each_other(self):
        names = self.names(
            "import torch\n"
            "class Double(torch.autograd.Function):\n"
            "    @staticmethod\n"
            "    def forward(ctx, x): return torch.in_forward\n"
            "class Case:\n"
            "    def m(self): return torch.in_case\n"
            "Case.double, Double.case = Double, Case\n"
        )
        self.assertLessEqual({"in_forward", "in_case"}, names)

    def test_what_trains_and_splits_models_imports_the_compiler(self):
        for name in ("_test_fsdp_parity", "_train_for_several_steps", "parallelize", "parallelize_module"):
            self.assertEqual(("torch._dynamo",), modules_to_preload([name]))

    def test_torchs_own_comparison_imports_dtensor(self):
        self.assertEqual(("torch.distributed.tensor",), modules_to_preload(["assert_close"]))

    def test_names_of_what_a_module_imports_do_not_count(self):
        self.assertNotIn("environ", self.names("import os\nfrom functools import wraps\nclass Case: pass\n"))

    def test_an_optimizer_pulls_in_dynamo(self):
        names = self.names("def test(self):\n    optim = torch.optim.Adam(self.parameters())\n")
        self.assertEqual(("torch._dynamo",), modules_to_preload(names))

    def test_a_collective_needs_nothing(self):
        self.assertEqual((), modules_to_preload(self.names("def test(self):\n    dist.all_reduce(self.x)\n")))

    def test_numpys_generator_follows_numpy(self):
        self.assertEqual(("numpy.random",), modules_to_preload((), {"numpy": None}))


if __name__ == "__main__":
    run_tests()
