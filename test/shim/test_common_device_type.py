"""Generic tests made for each device: names, arguments and skips; a second device is simulated."""

import os
import unittest
from unittest import mock

import torch

from torch_testing_shim import _device_type_tests
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim.common_device_type import (
    DeviceTypeTestBase,
    OpDTypes,
    deviceCountAtLeast,
    dtypes,
    dtypesIfCPU,
    dtypesIfCUDA,
    instantiate_device_type_tests,
    onlyAccelerator,
    onlyCPU,
    onlyCUDA,
    onlyNativeDeviceTypes,
    onlyOn,
    skipCPUIf,
    skipCUDAIf,
    skipIf,
    skipMeta,
)
from torch_testing_shim.common_distributed import MultiProcessTestCase
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

    def machine(self, accelerator="cuda", count=2):
        """A context in which torch finds these accelerators; no test makes a tensor on one."""
        found = DeviceInUse(accelerator, count) if accelerator else DeviceInUse("cpu", 0)
        return mock.patch.object(_device_type_tests, "device_in_use", lambda: found)

    def made(self, accelerator="cuda", count=2, arguments=None, **tests):
        """The classes made of a generic class with these tests, by name."""
        generic = type("TestGeneric", (TestCase,), {**tests, "__module__": __name__})
        scope = {"TestGeneric": generic}
        with self.machine(accelerator, count):
            instantiate_device_type_tests(generic, scope, **(arguments or {}))
        self.assertEqual([], [name for name in vars(generic) if name.startswith("test")])
        return scope

    def names(self, scope):
        return {name: [test for test in dir(made) if test.startswith("test")] for name, made in scope.items()}

    def run_all(self, scope):
        """How the tests of all classes end: the reason of a skip, or "passed"."""
        endings = {}
        for made in scope.values():
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

    def test_classes_can_be_found_in_their_module(self):
        made = self.made(test_x=lambda case: None)["TestGenericCPU"]
        self.assertEqual((__name__, "TestGenericCPU"), (made.__module__, made.__qualname__))
        self.assertTrue(issubclass(made, DeviceTypeTestBase))

    def test_set_up_of_the_class_is_called_with_the_made_class(self):
        seen = []
        set_up = classmethod(lambda cls: seen.append(cls.__name__))
        scope = self.made(None, setUpClass=set_up, test_x=lambda case: None)
        unittest.defaultTestLoader.loadTestsFromTestCase(scope["TestGenericCPU"]).run(unittest.TestResult())
        self.assertEqual(["TestGenericCPU"], seen)

    def test_dtypes_of_one_device(self):
        @dtypes(torch.float32)
        @dtypesIfCPU(torch.float64)
        @dtypesIfCUDA(torch.float16, torch.bfloat16)
        def test_x(case, dtype):
            pass

        names = self.names(self.made(test_x=test_x))
        self.assertEqual(["test_x_cpu_float64"], names["TestGenericCPU"])
        self.assertEqual(["test_x_cuda_bfloat16", "test_x_cuda_float16"], names["TestGenericCUDA"])

    def test_several_dtypes(self):
        @dtypes((torch.int64, torch.float32), (torch.int8, torch.float16))
        def test_x(case, dtypes):
            self.ran.append(dtypes)

        scope = self.made(None, test_x=test_x)
        self.assertEqual(["test_x_cpu_int64_float32", "test_x_cpu_int8_float16"], self.names(scope)["TestGenericCPU"])
        self.run_all(scope)
        self.assertEqual([(torch.int64, torch.float32), (torch.int8, torch.float16)], self.ran)

    def test_wrong_dtypes(self):
        for wrong, told in (
            (lambda: dtypes("float32"), "unknown dtype 'float32'"),
            (lambda: dtypes((torch.int8,), torch.int8), "not both"),
            (lambda: dtypes(torch.int8)(dtypes(torch.int8)(lambda case: None)), "dtypes for all twice"),
            (lambda: self.made(test_x=dtypesIfCPU(torch.int8)(lambda case: None)), "@dtypes for all others is missing"),
        ):
            with self.assertRaisesRegex(AssertionError, told):
                wrong()

    def test_skips_by_device(self):
        def body(case):
            self.ran.append(case.device_type)

        marks = {
            "only_cuda": onlyCUDA,
            "only_cpu": onlyCPU,
            "only_on": onlyOn(["xpu", "cuda"]),
            "accelerator": onlyAccelerator,
            "native": onlyNativeDeviceTypes,
            "meta": skipMeta,
            "not_cpu": skipCPUIf(True, "no cpu"),
            "not_cuda": skipCUDAIf(True, "no cuda"),
            "not_false": skipCUDAIf(False, "never"),
            "by_attribute": skipIf("needs_more", "needs more"),
            "missing": skipIf("is_missing", "is missing", device_type=("cpu",)),
        }
        tests = {f"test_{name}": mark(lambda case: body(case)) for name, mark in marks.items()}
        endings = self.run_all(self.made(needs_more=False, **tests))
        skipped = {name: reason for name, reason in endings.items() if reason != "passed"}
        expected = {
            "test_only_cuda_cpu": "runs on cuda only",
            "test_only_cpu_cuda": "runs on cpu only",
            "test_only_on_cpu": "runs on xpu, cuda only",
            "test_accelerator_cpu": "runs on accelerators only",
            "test_not_cpu_cpu": "no cpu",
            "test_not_cuda_cuda": "no cuda",
            "test_missing_cpu": "is missing",
        }
        self.assertEqual(expected, skipped)
        self.assertEqual(len(endings) - len(expected), len(self.ran))

    def test_meta_and_foreign_devices(self):
        class OnMeta(DeviceTypeTestBase):
            device_type = "meta"

            @skipMeta
            def test_meta(self):
                raise AssertionError

        class OnOther(DeviceTypeTestBase):
            device_type = "xla"

            @onlyNativeDeviceTypes
            def test_other(self):
                raise AssertionError

        endings = self.run_all({"": OnMeta, "other": OnOther})
        expected = {"test_meta": "does not work with meta tensors", "test_other": "runs on torch's own devices only"}
        self.assertEqual(expected, endings)

    def test_several_devices(self):
        def test_x(case, devices):
            self.ran.append(devices)

        scope = self.made(count=2, test_x=deviceCountAtLeast(2)(test_x))
        endings = self.run_all(scope)
        self.assertEqual({"test_x_cpu": "needs at least 2 devices, found 1", "test_x_cuda": "passed"}, endings)
        self.assertEqual([["cuda:0", "cuda:1"]], self.ran)
        with self.assertRaisesRegex(AssertionError, "deviceCountAtLeast twice"):
            deviceCountAtLeast(1)(deviceCountAtLeast(1)(test_x))

    def test_leased_devices(self):
        def test_x(case, devices):
            self.ran.append((case.get_primary_device(), devices))

        leased = DeviceInUse("cuda", 2, indices=(3, 1))
        machine = mock.patch.object(_device_type_tests, "device_in_use", lambda: leased)
        with mock.patch.object(self, "machine", return_value=machine):
            scope = self.made(test_x=deviceCountAtLeast(2)(test_x))
        with machine:
            self.run_all(scope)
        self.assertEqual([("cuda:3", ["cuda:3", "cuda:1"])], self.ran)

    def test_which_devices(self):
        """Where each way to narrow them leads."""
        for arguments, environment, expected in (
            ({}, {}, ["CPU", "CUDA"]),
            ({"only_for": "cuda"}, {}, ["CUDA"]),
            ({"only_for": ("cuda", "xpu")}, {}, ["CUDA"]),
            ({"except_for": ["cpu"]}, {}, ["CUDA"]),
            ({"only_for": "xpu"}, {}, []),
            ({}, {"ONLY_FOR": "cpu, xpu"}, ["CPU"]),
            ({}, {"EXCEPT_FOR": "cpu"}, ["CUDA"]),
            ({"only_for": "cuda"}, {"ONLY_FOR": "cpu"}, []),
        ):
            with self.subTest(arguments=arguments, environment=environment), mock.patch.dict(os.environ):
                for name, value in environment.items():
                    os.environ[f"PYTORCH_TESTING_DEVICE_{name}"] = value
                scope = self.made(arguments=arguments, test_x=lambda case: None)
                self.assertEqual([f"TestGeneric{device}" for device in expected], list(scope))

    def test_devices_that_need_to_be_allowed(self):
        for device in ("mps", "xpu"):
            self.assertEqual(["TestGenericCPU"], list(self.made(device, test_x=lambda case: None)))
            allowed = self.made(device, arguments={f"allow_{device}": True}, test_x=lambda case: None)
            self.assertEqual(["TestGenericCPU", f"TestGeneric{device.upper()}"], list(allowed))

    def test_privateuse1(self):
        with mock.patch.object(torch._C, "_get_privateuse1_backend_name", return_value="npu"):
            scope = self.made("npu", arguments={"only_for": "privateuse1"}, test_x=lambda case: None)
        self.assertEqual({"TestGenericPRIVATEUSE1": ["test_x_npu"]}, self.names(scope))
        self.assertEqual("npu:0", scope["TestGenericPRIVATEUSE1"].get_primary_device())

    def test_wrong_devices(self):
        with self.assertRaisesRegex(AssertionError, "cpu stands in both"):
            self.made(arguments={"only_for": "cpu", "except_for": "cpu"}, test_x=lambda case: None)
        with self.assertRaisesRegex(NotImplementedError, "lazy device"):
            self.made(arguments={"include_lazy": True}, test_x=lambda case: None)

    def test_backend_of_a_device(self):
        self.assertEqual("gloo", self.made(None, test_x=lambda case: None)["TestGenericCPU"].distributed_backend())

    def test_kinds_of_dtypes(self):
        self.assertEqual((0, 6), (OpDTypes.supported.value, OpDTypes.any_common_cpu_cuda_one.value))
        self.assertEqual(7, len(OpDTypes))


class OnRanks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @dtypes(torch.float32)
    @parametrize("x", [1, 2])
    def test_ranks(self, device, dtype, x):
        self.assertEqual(("cpu", device, torch.float32), (self.device_type, "cpu", dtype))
        self.assertIn(self.rank, (0, 1))

    @onlyCUDA
    def test_skipped_before_any_rank(self, device):
        raise AssertionError


instantiate_device_type_tests(OnRanks, globals(), only_for="cpu")

if __name__ == "__main__":
    run_tests()
