"""Names that stand for a part of PyTorch's own build: imported like others, and told when they are used."""

import importlib
import operator
import unittest

import torch

from torch_testing_shim import common_methods_invocations
from torch_testing_shim._absent_names import AbsentName, AbsentNameError
from torch_testing_shim.common_device_type import ops
from torch_testing_shim.common_methods_invocations import DecorateInfo, op_db
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.rpc_utils import generate_tests

USES = (
    list,
    len,
    bool,
    lambda it: operator.add(it, []),
    lambda it: operator.add([], it),
    lambda it: it[0],
    lambda it: 1 in it,
)
LISTS = ("GENERIC_TESTS", "TENSORPIPE_TESTS", "FAULTY_AGENT_TESTS", "GENERIC_CUDA_TESTS", "TENSORPIPE_CUDA_TESTS")
BASES = {
    "distributed.rpc.tensorpipe_rpc_agent_test_fixture": ["TensorPipeRpcAgentTestFixture"],
    "distributed.rpc.faulty_rpc_agent_test_fixture": ["FaultyRpcAgentTestFixture"],
    "distributed.distributed_test": ["TestDistBackend"],
}


def named(module, name):
    return getattr(importlib.import_module(f"torch_testing_shim.{module}"), name)


class Absent(TestCase):
    def assert_told(self, name):
        told = rf"torch_testing_shim\.[\w.]+\.{name} cannot be used outside of PyTorch's own build: it [a-z]"
        return self.assertRaisesRegex(AbsentNameError, told)

    def test_lists_of_rpc_suites(self):
        for name in LISTS:
            suites = named("distributed.rpc_utils", name)
            for use in (
                list,
                len,
                bool,
                lambda s: operator.add(s, []),
                lambda s: operator.add([], s),
                lambda s: s[0],
                lambda s: 1 in s,
            ):
                with self.assert_told(name):
                    use(suites)

    def test_generate_tests(self):
        with self.assert_told("generate_tests"):
            generate_tests("Prefix", object, [], __name__)

    def test_base_classes(self):
        for module, names in BASES.items():
            for name in names:
                base = named(module, name)
                with self.assert_told(name):

                    class Sub(base):
                        pass

                with self.assert_told(name):
                    base()

    def test_classes_inside(self):
        with self.assert_told("DistributedTest"):
            named("distributed.distributed_test", "DistributedTest")._DistTestBase  # noqa: B018

    def test_operators(self):
        with self.assert_told("op_db"):
            [op for op in op_db if op.name == "add"]
        with self.assert_told("ops"):
            ops([], allowed_dtypes=(torch.float32,))

    def test_loaders_pass_over_them(self):
        """unittest looks at every name of a module, and so do others, by names in double underscores."""
        absent = AbsentName("a.module.TestName", "is not here")
        self.assertIn("a.module.TestName", repr(absent))
        self.assertFalse(hasattr(absent, "__wrapped__"))
        self.assertFalse(isinstance(absent, type))
        loaded = unittest.defaultTestLoader.loadTestsFromModule(common_methods_invocations)
        self.assertEqual(0, loaded.countTestCases())


class Decorate(TestCase):
    def active(self, info, cls_name="TestA", test_name="test_b", device_type="cpu", dtype=torch.float32, **kwargs):
        return info.is_active(cls_name, test_name, device_type, dtype, kwargs)

    def test_what_is_none_fits_all(self):
        self.assertTrue(self.active(DecorateInfo(unittest.skip("x"))))

    def test_each_condition(self):
        for wanted, other in (
            ({"cls_name": "TestA"}, {"cls_name": "TestC"}),
            ({"test_name": "test_b"}, {"test_name": "test_c"}),
            ({"device_type": "cpu"}, {"device_type": "cuda"}),
            ({"dtypes": (torch.float32, torch.int8)}, {"dtype": torch.int16}),
        ):
            info = DecorateInfo([], **wanted)
            self.assertTrue(self.active(info))
            self.assertFalse(self.active(info, **other))

    def test_active_if(self):
        self.assertFalse(self.active(DecorateInfo([], active_if=False)))
        info = DecorateInfo([], active_if=lambda arguments: arguments["x"] > 1)
        self.assertEqual([False, True], [self.active(info, x=x) for x in (1, 2)])

    def test_decorators_are_a_list(self):
        skip = unittest.skip("x")
        self.assertEqual([[skip], [skip]], [DecorateInfo(given).decorators for given in (skip, (skip,))])

    def test_wrong_dtype(self):
        with self.assertRaisesRegex(AssertionError, "dtypes are wanted, not 'float'"):
            DecorateInfo([], dtypes=["float"])


if __name__ == "__main__":
    run_tests()
