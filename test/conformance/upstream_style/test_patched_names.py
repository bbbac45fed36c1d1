"""Names of the harness that a file assigns to, patches and reads by other ways than an import by name."""

import importlib
import os
import unittest
from unittest import mock

import torch
import torch.testing._internal.common_device_type as device_types
import torch.testing._internal.common_utils as common
from torch.testing._internal import common_cuda, common_distributed, common_fsdp, common_methods_invocations
from torch.testing._internal.common_utils import *  # noqa: F403
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal.distributed._tensor import common_dtensor

HAS_NO_SUCH = hasattr(common, "no_such_name")
common.SEED = 4321
device_types.onlyCUDA = device_types.onlyCPU  # as maintainers do who have torch's own files run on their device
common_cuda.TEST_MULTIGPU = True
common_dtensor.NUM_DEVICES = 3
common_fsdp.DEVICE_TYPE = "meta"
common_distributed.TIMEOUT_OVERRIDE["test_with_time"] = 77


def as_decorator(reason):
    return unittest.skip(reason)


common.skipIfXpu = as_decorator("of our own")


class ReadTest(TestCase):
    def test_seed(self):
        first = torch.rand(3)
        torch.manual_seed(4321)
        self.assertEqual(torch.rand(3), first)

    def test_decorator_of_the_module(self):
        from torch.testing._internal.common_device_type import onlyCUDA

        self.assertIs(onlyCUDA, device_types.onlyCPU)

    def test_flag(self):
        from torch.testing._internal.common_cuda import TEST_MULTIGPU

        self.assertTrue(TEST_MULTIGPU)

    def test_number_of_devices(self):
        self.assertEqual(common_dtensor.DTensorOpTestBase("__init__").world_size, 3)

    def test_device_of_models(self):
        self.assertEqual(common_fsdp.get_devtype().type, "meta")
        self.assertEqual(common_fsdp._move_to_device(torch.nn.Linear(1, 1), True).weight.device.type, "meta")

    def test_time(self):
        self.assertEqual(common_distributed.get_timeout("file.Class.test_with_time"), 77)

    @common.skipIfXpu
    def test_own_decorator(self):
        self.fail("is skipped")


class PatchTest(TestCase):
    def test_patched_flag(self):
        before = common.IS_WINDOWS
        with mock.patch.object(common, "IS_WINDOWS", not before):
            self.assertEqual(common.IS_WINDOWS, not before)
        self.assertEqual(common.IS_WINDOWS, before)

    @mock.patch("torch.testing._internal.common_utils.TEST_WITH_ROCM", True)
    def test_patched_by_name(self):
        self.assertTrue(importlib.import_module("torch.testing._internal.common_utils").TEST_WITH_ROCM)

    def test_patched_function(self):
        with mock.patch("torch.testing._internal.common_utils.set_rng_seed") as seeded:
            common.set_rng_seed(3)
        seeded.assert_called_once_with(3)

    def test_function_that_another_uses(self):
        with mock.patch.object(common, "make_tensor", return_value="made", create=True):
            self.assertEqual(common.make_tensor((2,)), "made")

    @mock.patch.dict(os.environ, {"UPSTREAM_STYLE": "1"})
    def test_patched_environment(self):
        self.assertEqual(os.environ["UPSTREAM_STYLE"], "1")

    def test_patched_table(self):
        with mock.patch.object(common_methods_invocations, "op_db", []):
            self.assertEqual(common_methods_invocations.op_db, [])
        self.assertGreater(len(common_methods_invocations.op_db), 100)

    @mock.patch.object(common.TestCase, "assertEqual", lambda self, *args, **kwargs: None)
    def test_patched_assertion(self):
        self.assertEqual(1, 2)

    def test_assertion_is_back(self):
        self.assertEqual(1, 2)


class WaysTest(TestCase):
    def test_attribute_of_torch(self):
        self.assertIs(torch.testing._internal.common_utils.TestCase, TestCase)
        self.assertIs(common.TestCase, TestCase)
        self.assertTrue(issubclass(type(self), torch.testing._internal.common_utils.TestCase))

    def test_import_module(self):
        module = importlib.import_module("torch.testing._internal.common_utils")
        self.assertIs(module, common)
        self.assertEqual(module.__name__.rpartition(".")[2], "common_utils")

    def test_star(self):
        self.assertTrue(callable(freeze_rng_state) and callable(parametrize))  # noqa: F405
        self.assertIsInstance(IS_LINUX, bool)  # noqa: F405

    def test_import_error(self):
        with self.assertRaises(ImportError):
            from torch.testing._internal.no_such_module import anything  # noqa: F401

    def test_names_of_a_module(self):
        self.assertIn("MultiProcessTestCase", dir(common_distributed))
        self.assertTrue(hasattr(common_distributed, "skip_if_lt_x_gpu"))
        self.assertFalse(
            hasattr(device_types, "no_such_name_at_all") and not callable(device_types.no_such_name_at_all)
        )

    def test_values(self):
        self.assertEqual(common.FILE_SCHEMA, "file://")
        self.assertIsInstance(common.TEST_WITH_SLOW, bool)
        self.assertTrue(common.is_iterable_of_tensors([torch.ones(1)]))
        self.assertFalse(HAS_NO_SUCH)


if __name__ == "__main__":
    run_tests()
