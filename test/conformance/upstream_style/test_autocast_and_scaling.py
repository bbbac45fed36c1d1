"""autocast and gradient scaling as tests of accelerators write them, with the harness's lists and cases for both."""

import contextlib
import unittest

import torch
from torch.amp import GradScaler, autocast
from torch.testing._internal.autocast_test_lists import AutocastCPUTestLists, AutocastTestLists
from torch.testing._internal.common_cuda import (
    PLATFORM_SUPPORTS_BF16,
    PLATFORM_SUPPORTS_FP8,
    TEST_CUDNN,
    TEST_MULTIGPU,
    SM53OrLater,
    SM89OrLater,
    SM90OrLater,
    SM100OrLater,
    _create_scaling_case,
    _create_scaling_models_optimizers,
    tf32_off,
    tf32_on_and_off,
    with_tf32_off,
    xfailIfSM89,
)
from torch.testing._internal.common_device_type import (
    dtypes,
    expectedFailureMPS,
    instantiate_device_type_tests,
    onlyCPU,
    onlyCUDA,
    onlyNativeDeviceTypes,
    skipMeta,
)
from torch.testing._internal.common_utils import (
    IS_WINDOWS,
    TEST_CUDA,
    TestCase,
    parametrize,
    run_tests,
    serialTest,
    skipIfTorchDynamo,
)

LOW = {"cpu": torch.bfloat16, "cuda": torch.float16}


class TestAutocast(TestCase):
    @dtypes(torch.bfloat16, torch.float16)
    def test_products_are_cast(self, device, dtype):
        kind = torch.device(device).type
        left = right = torch.ones(2, 2, device=device)
        with autocast(kind, dtype=dtype):
            self.assertTrue(torch.is_autocast_enabled(kind))
            self.assertEqual((left @ right).dtype, dtype)
            with autocast(kind, enabled=False):
                self.assertEqual((left @ right).dtype, torch.float32)
        self.assertFalse(torch.is_autocast_enabled(kind))

    def test_as_decorator(self, device):
        kind = torch.device(device).type

        @autocast(kind)
        def product(x):
            return x @ x

        self.assertEqual(product(torch.ones(2, 2, device=device)).dtype, torch.get_autocast_dtype(kind))

    def test_own_function(self, device):
        kind = torch.device(device).type

        class Product(torch.autograd.Function):
            @staticmethod
            @torch.amp.custom_fwd(device_type=kind)
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x @ x

            @staticmethod
            @torch.amp.custom_bwd(device_type=kind)
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad @ x.t() + x.t() @ grad

        x = torch.ones(2, 2, device=device, requires_grad=True)
        with autocast(kind):
            product = Product.apply(x)
        product.sum().backward()
        self.assertEqual(x.grad.dtype, torch.float32)

    @parametrize("cache_enabled", [True, False])
    def test_cache(self, device, cache_enabled):
        kind = torch.device(device).type
        linear = torch.nn.Linear(2, 2, device=device)
        with autocast(kind, cache_enabled=cache_enabled):
            self.assertEqual(torch.is_autocast_cache_enabled(), cache_enabled)
            self.assertEqual(linear(torch.ones(1, 2, device=device)).dtype, torch.get_autocast_dtype(kind))

    @onlyNativeDeviceTypes
    @skipMeta
    def test_scaler(self, device):
        kind = torch.device(device).type
        model = torch.nn.Linear(2, 2, device=device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = GradScaler(device=kind, init_scale=4.0, growth_interval=1)
        with autocast(kind, dtype=LOW[kind]):
            loss = model(torch.ones(1, 2, device=device)).float().sum()
        scaler.scale(loss).backward()
        self.assertEqual(model.bias.grad, torch.full((2,), 4.0, device=device))
        scaler.unscale_(optimizer)
        self.assertEqual(model.bias.grad, torch.ones(2, device=device))
        scaler.step(optimizer)
        scaler.update()
        self.assertEqual(scaler.get_scale(), 8.0)

    @onlyNativeDeviceTypes
    def test_infinite_gradients(self, device):
        kind = torch.device(device).type
        parameter = torch.nn.Parameter(torch.ones(1, device=device))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        scaler = GradScaler(device=kind, init_scale=2.0)
        parameter.grad = torch.full((1,), float("inf"), device=device)
        scaler.scale(torch.ones(1, device=device))
        scaler.step(optimizer)
        scaler.update()
        self.assertEqual(parameter, torch.ones(1, device=device))
        self.assertEqual(scaler.get_scale(), 1.0)

    @onlyCPU
    def test_models_of_the_harness(self, device):
        models = _create_scaling_models_optimizers(device=device)
        self.assertEqual(len(models), 4)
        modules, scaled, *_ = _create_scaling_case(device=device)
        for plain, other in zip(modules.parameters(), scaled.parameters(), strict=True):
            self.assertEqual(plain, other)

    @onlyCPU
    def test_lists_of_the_harness(self, device):
        lists = AutocastCPUTestLists(torch.device(device))
        self.assertGreater(len(lists.torch_16) + len(lists.torch_fp32), 10)
        with autocast("cpu", dtype=torch.bfloat16):
            for name, args, *_ in lists.torch_16[:3]:
                operator = getattr(torch, name, None) or getattr(torch._C._nn, name)
                found = operator(*args)
                self.assertEqual(found.dtype, torch.bfloat16)

    @onlyCUDA
    @tf32_on_and_off(0.005)
    @xfailIfSM89
    def test_on_cuda(self, device):
        self.fail("must not run on the CPU")

    @tf32_on_and_off(0.005)
    def test_with_and_without_tf32(self, device):
        self.assertEqual(torch.ones(2, device=device).sum().item(), 2)

    @with_tf32_off
    @expectedFailureMPS
    def test_without_tf32(self, device):
        with tf32_off():
            self.assertFalse(torch.backends.cuda.matmul.allow_tf32)

    @skipIfTorchDynamo("modes")
    def test_wrong_dtype(self, device):
        with autocast(torch.device(device).type, dtype=LOW[torch.device(device).type]):
            product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
        self.assertEqual(product, torch.full((2, 2), 2.0, device=device))

    def test_leaves_no_mode(self, device):
        self.assertFalse(torch.is_autocast_enabled(torch.device(device).type))


@unittest.skipIf(not TEST_CUDA, "needs CUDA")
class TestCudaOnly(TestCase):
    _do_cuda_memory_leak_check = True

    def setUp(self):
        super().setUp()
        self.autocast_lists = AutocastTestLists(torch.device("cuda:0"))

    def tearDown(self):
        del self.autocast_lists
        super().tearDown()

    def test_lists(self):
        self.assertTrue(self.autocast_lists.torch_fp16)

    @serialTest()
    @unittest.skipIf(not TEST_MULTIGPU, "needs several")
    def test_scaling_on_two(self):
        self.assertEqual(torch.cuda.device_count(), 2)


class TestFlags(TestCase):
    @unittest.skipIf(TEST_CUDA, "is about machines without it")
    def test_nothing_of_cuda(self):
        flags = (SM53OrLater, SM89OrLater, SM90OrLater, SM100OrLater, TEST_MULTIGPU, TEST_CUDNN)
        self.assertFalse(any(bool(flag) for flag in flags))

    @unittest.skipIf(not PLATFORM_SUPPORTS_BF16, "no bf16")
    def test_bf16(self):
        self.assertTrue(PLATFORM_SUPPORTS_BF16)

    @unittest.skipIf(not PLATFORM_SUPPORTS_FP8, "no fp8")
    def test_fp8(self):
        self.assertEqual(torch.ones(1).to(torch.float8_e4m3fn).float(), torch.ones(1))

    @unittest.skipUnless(SM90OrLater, "not a Hopper")
    def test_hopper(self):
        self.assertGreaterEqual(torch.cuda.get_device_capability(), (9, 0))

    @unittest.expectedFailure
    @unittest.skipIf(IS_WINDOWS, "not there")
    def test_flag_is_false(self):
        with contextlib.ExitStack():
            self.assertTrue(SM100OrLater)


instantiate_device_type_tests(TestAutocast, globals(), except_for=("meta",), allow_mps=True)

if __name__ == "__main__":
    run_tests()
