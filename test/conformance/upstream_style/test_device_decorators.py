"""Decorators of common_device_type: which device, dtype, memory and library a test needs, and how exact it is."""

import unittest

import torch
from torch.testing import make_tensor
from torch.testing._internal.common_device_type import (
    deviceCountAtLeast,
    disableMkldnn,
    dtypes,
    dtypesIfCPU,
    dtypesIfCUDA,
    expectedFailure,
    expectedFailureCPU,
    expectedFailureCUDA,
    expectedFailureMeta,
    expectedFailureMPS,
    get_all_device_types,
    instantiate_device_type_tests,
    largeTensorTest,
    onlyAccelerator,
    onlyCPU,
    onlyCUDAAndPRIVATEUSE1,
    onlyNativeDeviceTypes,
    onlyNativeDeviceTypesAnd,
    onlyOn,
    precisionOverride,
    skipCPUIfNoFFT,
    skipCPUIfNoLapack,
    skipCPUIfNoMkl,
    skipCUDAIfNoMagma,
    skipCUDAIfRocm,
    skipIf,
    skipLazy,
    skipXLA,
    tol,
    toleranceOverride,
)
from torch.testing._internal.common_dtype import (
    all_types_and,
    complex_types,
    floating_and_complex_types_and,
    floating_types,
    integral_types,
)
from torch.testing._internal.common_utils import (
    TestCase,
    decorateIf,
    parametrize,
    run_tests,
    skipIfNoLapack,
    skipIfNoSciPy,
    slowTest,
    subtest,
    wrapDeterministicFlagAPITest,
)


class TestNeeds(TestCase):
    @onlyOn("cpu")
    def test_on_cpu(self, device):
        self.assertEqual(device, "cpu")

    @onlyOn(["cpu", "cuda"])
    def test_on_either(self, device):
        self.assertEqual(torch.device(device).type, "cpu")

    @onlyOn("cuda")
    def test_on_cuda(self, device):
        self.fail("runs on the CPU")

    @onlyAccelerator
    def test_on_an_accelerator(self, device):
        self.fail("runs on the CPU")

    @onlyCUDAAndPRIVATEUSE1
    def test_on_cuda_and_others(self, device):
        self.fail("runs on the CPU")

    @onlyNativeDeviceTypes
    def test_native(self, device):
        self.assertEqual(torch.zeros(1, device=device), torch.zeros(1))

    @onlyNativeDeviceTypesAnd("meta")
    def test_native_and_meta(self, device):
        self.assertNotEqual(device, "meta")

    @deviceCountAtLeast(2)
    def test_two_devices(self, devices):
        self.fail("there is one CPU")

    @largeTensorTest(1 << 20)
    def test_small(self, device):
        self.assertEqual(torch.zeros(256, device=device).sum(), 0)

    @largeTensorTest("900000GB", device="cpu")
    def test_too_large(self, device):
        self.fail("no machine has this")

    @largeTensorTest(lambda self, device, dtype: dtype.itemsize << 50)
    @dtypes(torch.int8, torch.float64)
    def test_too_large_for_its_dtype(self, device, dtype):
        self.fail("no machine has this")

    @skipCPUIfNoLapack
    @skipCUDAIfNoMagma
    @skipIfNoLapack
    @dtypes(*floating_types())
    def test_lapack(self, device, dtype):
        matrix = make_tensor((3, 3), device=device, dtype=dtype) + 4 * torch.eye(3, dtype=dtype)
        self.assertEqual(torch.linalg.inv(matrix) @ matrix, torch.eye(3, dtype=dtype), atol=1e-3, rtol=1e-3)

    @skipCPUIfNoFFT
    @skipCPUIfNoMkl
    @onlyCPU
    def test_fft(self, device):
        self.assertEqual(torch.fft.ifft(torch.fft.fft(torch.ones(4, device=device))).real, torch.ones(4))

    @skipIfNoSciPy
    @skipLazy
    @skipXLA
    @skipCUDAIfRocm
    def test_scipy(self, device):
        import scipy.special

        self.assertEqual(torch.special.erf(torch.ones(1)).item(), scipy.special.erf(1.0), atol=1e-6, rtol=0)

    @skipIf(True, "never")
    def test_skipped(self, device):
        self.fail("is skipped")

    @slowTest
    def test_slow(self, device):
        self.fail("is not asked for")

    @disableMkldnn
    def test_without_mkldnn(self, device):
        self.assertFalse(torch.backends.mkldnn.enabled)

    @wrapDeterministicFlagAPITest
    def test_deterministic_api(self, device):
        torch.use_deterministic_algorithms(True)
        self.assertTrue(torch.are_deterministic_algorithms_enabled())


class TestDtypes(TestCase):
    @dtypes(*integral_types())
    def test_integers(self, device, dtype):
        self.assertFalse(dtype.is_floating_point)

    @dtypes(*floating_and_complex_types_and(torch.half, torch.bfloat16))
    def test_all_kinds(self, device, dtype):
        self.assertEqual(torch.zeros(2, dtype=dtype, device=device).sum().item(), 0)

    @dtypesIfCPU(*complex_types())
    @dtypesIfCUDA(torch.half)
    @dtypes(*all_types_and(torch.bool))
    def test_of_the_device(self, device, dtype):
        self.assertTrue(dtype.is_complex)

    @dtypes((torch.float32, torch.int64), (torch.float64, torch.int32))
    def test_pairs(self, device, dtypes):
        self.assertEqual(len(dtypes), 2)

    @parametrize("size", [subtest(2, name="two"), subtest(3, decorators=[unittest.expectedFailure])])
    @dtypes(torch.float32)
    def test_decorated_subtests(self, device, dtype, size):
        self.assertEqual(size, 2)

    @decorateIf(unittest.expectedFailure, lambda params: params["size"] == 3 and params["dtype"] is torch.int64)
    @parametrize("size", [2, 3])
    @dtypes(torch.float32, torch.int64)
    def test_decorated_by_parameters(self, device, dtype, size):
        self.assertTrue(size == 2 or dtype is torch.float32)


class TestTolerances(TestCase):
    @precisionOverride({torch.float32: 0.5, torch.float64: 1e-9})
    @dtypes(torch.float32, torch.float64)
    def test_precision(self, device, dtype):
        self.assertEqual(torch.ones(1, dtype=dtype), torch.ones(1, dtype=dtype) + 0.4)

    @toleranceOverride({torch.float32: tol(atol=0, rtol=0.5)})
    @dtypes(torch.float32)
    def test_relative(self, device, dtype):
        self.assertEqual(torch.full((1,), 10.0, dtype=dtype), torch.full((1,), 14.0, dtype=dtype))

    @toleranceOverride({torch.float32: tol(atol=0, rtol=0.1)})
    @dtypes(torch.float32)
    def test_relative_is_exceeded(self, device, dtype):
        self.assertEqual(torch.full((1,), 10.0, dtype=dtype), torch.full((1,), 14.0, dtype=dtype))

    @dtypes(torch.float32)
    def test_override_has_ended(self, device, dtype):
        self.assertEqual(self.precision, 0)
        self.assertNotEqual(torch.ones(1), torch.ones(1) + 0.4)

    @expectedFailureCPU
    def test_fails_on_cpu(self, device):
        self.assertEqual(device, "cuda")

    @expectedFailureCUDA
    @expectedFailureMeta
    @expectedFailureMPS
    def test_fails_elsewhere(self, device):
        self.assertEqual(device, "cpu")

    @expectedFailureCPU
    def test_is_said_to_fail(self, device):
        self.assertEqual(device, "cpu")

    @expectedFailure("cpu")
    def test_raises_on_cpu(self, device):
        raise RuntimeError("on the CPU")

    def test_devices(self, device):
        self.assertIn("cpu", get_all_device_types())


instantiate_device_type_tests(TestNeeds, globals(), only_for=("cpu", "cuda"), allow_mps=True)
instantiate_device_type_tests(TestDtypes, globals(), except_for=("mps",))
instantiate_device_type_tests(TestTolerances, globals(), only_for="cpu")

if __name__ == "__main__":
    run_tests()
