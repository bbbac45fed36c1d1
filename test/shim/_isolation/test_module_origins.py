"""Modules of libraries are told from those of tests."""

import json
import os
import sys
import types
from unittest import mock

import torch
import torch.distributed.tensor

import torch_testing_shim
from torch_testing_shim._isolation.module_origins import is_of_library
from torch_testing_shim.common_utils import TestCase, run_tests


def module(name, **attributes):
    found = types.ModuleType(name)
    vars(found).update(attributes)
    return found


class IsOfLibrary(TestCase):
    def test_libraries(self):
        for found in (os, sys, json, torch, torch.distributed.tensor, torch_testing_shim, torch.ops, torch.classes):
            with self.subTest(found.__name__ if isinstance(found, types.ModuleType) else str(found)):
                self.assertTrue(is_of_library(found))
        self.assertTrue(is_of_library(module("torch.made_up")))

    def test_tests(self):
        self.assertFalse(is_of_library(sys.modules[__name__]))
        for found in (
            module("made_up"),
            module("json.of_a_test", __file__=os.path.abspath("json.py")),
            module("a_folder", __path__=[os.getcwd()]),
        ):
            with self.subTest(found.__name__):
                self.assertFalse(is_of_library(found))
        self.assertFalse(is_of_library(mock.MagicMock()))

    def test_all_that_torch_imports(self):
        others = [name for name, found in sys.modules.items() if found is not None and not is_of_library(found)]
        self.assertEqual([], [name for name in others if name.partition(".")[0] in ("torch", "numpy", "unittest")])


if __name__ == "__main__":
    run_tests()
