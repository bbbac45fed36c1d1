"""Generic tests made for each device: which devices there are, and that none is started; a second one is simulated.

How tests are made of them is torch's own.
"""

import os
import unittest
from unittest import mock

import torch

from torch_testing_shim import common_device_type
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._skips import capabilities
from torch_testing_shim.common_device_type import (
    Capability,
    DeviceTypeTestBase,
    OpDTypes,
    deviceCountAtLeast,
    dtypes,
    expectedFailureCPU,
    instantiate_device_type_tests,
    onlyCUDA,
    ops,
    requires_capabilities,
    skipCUDAIfNoMagma,
    tol,
    toleranceOverride,
)
from torch_testing_shim.common_distributed import MultiProcessTestCase, MultiThreadedTestCase
from torch_testing_shim.common_methods_invocations import op_db
from torch_testing_shim.common_modules import module_db, modules
from torch_testing_shim.common_utils import TestCase, parametrize, run_tests


class Making(TestCase):
    """Classes are made inside the tests, run, and looked at."""

    def setUp(self):
        super().setUp()
        self.ran = []
        environment = mock.patch.dict(os.environ)
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("TORCH_TESTING_SHIM_DEVICE", None)
        for way in ("ONLY", "EXCEPT"):
            os.environ.pop(f"PYTORCH_TESTING_DEVICE_{way}_FOR", None)

    def machine(self, accelerator="cuda", count=2, indices=None):
        """A context in which torch finds these accelerators; no test makes a tensor on one."""
        found = DeviceInUse(accelerator, count, indices=indices) if accelerator else DeviceInUse("cpu", 0)
        with mock.patch.object(common_device_type, "device_in_use", lambda: found):
            bases = common_device_type.get_device_type_test_bases()
        return mock.patch.object(common_device_type, "device_type_test_bases", bases)

    def made(self, accelerator="cuda", count=2, indices=None, arguments=None, **tests):
        """The classes made of a generic class with these tests, by name."""
        generic = type("TestGeneric", (TestCase,), {**tests, "__module__": __name__})
        scope = {"TestGeneric": generic}
        with self.machine(accelerator, count, indices):
            instantiate_device_type_tests(generic, scope, **(arguments or {}))
        return scope

    def names(self, scope):
        return {name: unittest.defaultTestLoader.getTestCaseNames(made) for name, made in scope.items()}

    def run_all(self, scope):
        """How the tests of all classes end: the reason of a skip, or "passed"."""
        endings = {}
        for made in scope.values():
            made.setUpClass()
            for test in unittest.defaultTestLoader.loadTestsFromTestCase(made):
                result = unittest.TestResult()
                test.run(result)
                self.assertEqual([], [text for _, text in result.failures + result.errors])
                endings[test._testMethodName] = result.skipped[0][1] if result.skipped else "passed"
        return endings

    def test_devices_parameters_and_dtypes(self):
        @dtypes(torch.float32, torch.int64)
        @parametrize("x", [1, 2])
        def test_all(case, device, dtype, x):
            self.ran.append((case.device_type, device, dtype, x))

        def test_none(case):
            self.ran.append(case.device_type)

        scope = self.made(test_all=test_all, test_none=test_none)
        cases = [f"test_all_x_{x}_{{}}_{dtype}" for x in (1, 2) for dtype in ("float32", "int64")]
        expected = {
            f"TestGeneric{device.upper()}": [*(case.format(device) for case in cases), f"test_none_{device}"]
            for device in ("cpu", "cuda")
        }
        self.assertEqual(expected, self.names(scope))
        self.assertEqual({"passed"}, set(self.run_all(scope).values()))
        self.assertIn(("cpu", "cpu", torch.float32, 1), self.ran)
        self.assertIn(("cuda", "cuda:0", torch.int64, 2), self.ran)
        self.assertEqual(10, len(self.ran))
        self.assertTrue(issubclass(scope["TestGenericCPU"], DeviceTypeTestBase))
        self.assertTrue(issubclass(DeviceTypeTestBase, TestCase))

    def test_no_device_is_started(self):
        """Not by making the classes nor by setting them up; and what decorators ask is asked in the test."""
        with mock.patch.object(torch, "ones", side_effect=AssertionError("a tensor was made")):
            scope = self.made(test_x=skipCUDAIfNoMagma(lambda case, device: None))
            for made in scope.values():
                made.setUpClass()
        with mock.patch.object(torch.cuda, "has_magma", False):
            self.assertEqual({"no MAGMA library detected"}, set(self.run_all(scope).values()) - {"passed"})

    def test_leased_devices(self):
        def test_x(case, devices):
            self.ran.append(devices)

        scope = self.made(indices=(3, 5), test_x=deviceCountAtLeast(2)(test_x))
        self.assertEqual("passed", self.run_all(scope)["test_x_cuda"])
        self.assertEqual([["cuda:3", "cuda:5"]], self.ran)

    def test_which_devices(self):
        """Where each way to narrow them leads."""
        for arguments, environment, expected in (
            ({}, {}, ["CPU", "CUDA"]),
            ({"only_for": "cuda"}, {}, ["CUDA"]),
            ({"except_for": ["cpu"]}, {}, ["CUDA"]),
            ({"only_for": "xpu"}, {}, []),
            ({}, {"ONLY_FOR": "cpu,xpu"}, ["CPU"]),
            ({}, {"EXCEPT_FOR": "cpu"}, ["CUDA"]),
        ):
            with self.subTest(arguments=arguments, environment=environment), mock.patch.dict(os.environ):
                for name, value in environment.items():
                    os.environ[f"PYTORCH_TESTING_DEVICE_{name}"] = value
                scope = self.made(arguments=arguments, test_x=lambda case: None)
                self.assertEqual([f"TestGeneric{device}" for device in expected], list(scope))

    def test_devices_that_need_to_be_allowed(self):
        for device in ("mps", "xpu"):
            with mock.patch.object(common_device_type, f"TEST_{device.upper()}", True):
                self.assertEqual(["TestGenericCPU"], list(self.made(device, test_x=lambda case: None)))
                allowed = self.made(device, arguments={f"allow_{device}": True}, test_x=lambda case: None)
            self.assertEqual(["TestGenericCPU", f"TestGeneric{device.upper()}"], list(allowed))
            self.assertEqual(f"{device}:0", allowed[f"TestGeneric{device.upper()}"].get_primary_device())

    def test_privateuse1(self):
        # Asked which accelerator there is, torch 2.6 would make a device of the name, which it does not know.
        with (
            mock.patch.object(torch._C, "_get_privateuse1_backend_name", return_value="npu"),
            mock.patch.object(torch.accelerator, "current_accelerator", return_value=None),
        ):
            scope = self.made("npu", arguments={"only_for": "privateuse1"}, test_x=lambda case: None)
        self.assertEqual({"TestGenericPRIVATEUSE1": ["test_x_npu"]}, self.names(scope))
        self.assertEqual("npu:0", scope["TestGenericPRIVATEUSE1"].get_primary_device())

    def test_capabilities(self):
        has_fp8 = requires_capabilities(Capability.dtype.fp8)
        has_efficient = requires_capabilities(Capability.dtype.bf16, Capability.attention.mem_efficient_attention)
        tests = {"test_fp8": has_fp8(lambda case: None), "test_more": has_efficient(lambda case: None)}
        flags = {"SM80OrLater": True, "SM89OrLater": False, "PLATFORM_SUPPORTS_MEM_EFF_ATTENTION": True}
        with mock.patch.multiple(capabilities, **flags):
            endings = self.run_all(self.made(**tests))
        lacking = "attention.mem_efficient_attention, which cpu"
        self.assertEqual(
            {
                "test_fp8_cpu": "passed",
                "test_fp8_cuda": "needs dtype.fp8, which cuda does not have",
                "test_more_cpu": f"needs {lacking} does not have",
                "test_more_cuda": "passed",
            },
            endings,
        )

    def test_a_capability_that_nobody_knows_is_a_failure(self):
        made = self.made(None, test_x=requires_capabilities("clock")(lambda case: None))["TestGenericCPU"]
        result = unittest.TestResult()
        made("test_x_cpu").run(result)
        self.assertIn("TestGenericCPU._capabilities() does not know clock", result.failures[0][1])
        made._capabilities = classmethod(lambda cls: {"clock": lambda: True})  # as a package's own base would
        self.assertEqual({"test_x_cpu": "passed"}, self.run_all({"TestGenericCPU": made}))

    def test_backend_of_a_device(self):
        made = self.made(None, test_x=lambda case: None)["TestGenericCPU"]
        if hasattr(DeviceTypeTestBase, "distributed_backend"):  # torch 2.6 has none
            self.assertEqual("gloo", made.distributed_backend())


class Operators(TestCase):
    @ops([op for op in op_db if op.name in ("add", "linalg.svd")], dtypes=OpDTypes.any_one)
    def test_operator(self, device, dtype, op):
        [first, *_] = op.sample_inputs(device, dtype)
        self.assertIsNotNone(op(first.input, *first.args, **first.kwargs))

    @modules([info for info in module_db if info.name == "nn.Linear"])
    def test_module(self, device, dtype, module_info, training):
        self.assertTrue(module_info.module_inputs_func(module_info, device, dtype, False, training))

    @expectedFailureCPU
    def test_fails(self, device):
        self.fail()


class Spawning(MultiProcessTestCase):
    """Torch 2.6 copies what a generic class has, which loses `super()`; so `setUp` stands above it."""

    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()


class OnRanks(Spawning):
    @dtypes(torch.float32)
    @parametrize("x", [1, 2])
    def test_ranks(self, device, dtype, x):
        self.assertEqual(("cpu", device, torch.float32), (self.device_type, "cpu", dtype))
        self.assertIn(self.rank, (0, 1))

    @onlyCUDA
    def test_skipped(self, device):
        raise AssertionError


class SpawningThreads(MultiThreadedTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()


class OnThreads(SpawningThreads):
    @toleranceOverride({torch.float32: tol(atol=0.5, rtol=0)})
    @dtypes(torch.float32)
    def test_threads(self, device, dtype):
        self.assertEqual(torch.zeros(1), torch.full((1,), 0.4))
        self.assertIn(self.rank, (0, 1))


for made_class in (Operators, OnRanks, OnThreads):
    instantiate_device_type_tests(made_class, globals(), only_for="cpu")
del made_class

if __name__ == "__main__":
    run_tests()
