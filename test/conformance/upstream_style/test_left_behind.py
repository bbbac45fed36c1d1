"""What torch's TestCase sets for each test, puts back after it, and finds fault with."""

import torch
import torch._dynamo.testing
from torch.overrides import TorchFunctionMode
from torch.testing._internal.common_utils import (
    DeterministicGuard,
    TestCase,
    freeze_rng_state,
    markDynamoStrictTest,
    run_tests,
    set_default_dtype,
    set_default_tensor_type,
    skipIfTorchInductor,
    unMarkDynamoStrictTest,
    xfailIf,
    xfailIfTorchDynamo,
)


class Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class LeftBehindTest(TestCase):
    def test_a_leaves_a_mode(self):
        Mode().__enter__()

    def test_b_leaves_a_default_device(self):
        torch.set_default_device("meta")

    def test_c_leaves_functions_off(self):
        torch._C.DisableTorchFunctionSubclass().__enter__()

    def test_d_leaves_gradients_off(self):
        torch.set_grad_enabled(False)

    def test_d_leaves_a_stance(self):
        torch.compiler.set_stance("force_eager")

    def test_e_finds_all_as_it_was(self):
        self.assertEqual(torch.ones(1).device.type, "cpu")
        self.assertEqual(torch._C._len_torch_function_stack(), 0)

    def test_f_finds_gradients_on(self):
        self.assertTrue(torch.is_grad_enabled())

    def test_g_sparse_invariants_are_checked(self):
        self.assertTrue(torch.sparse.check_sparse_tensor_invariants.is_enabled())
        with self.assertRaises(RuntimeError):
            torch.sparse_coo_tensor([[5]], [1.0], (2,))

    def test_h_numbers(self):
        first = torch.rand(3)
        with freeze_rng_state():
            torch.rand(3)
        torch.manual_seed(1234)
        self.assertEqual(first, torch.rand(3))


class GuardsTest(TestCase):
    @set_default_dtype(torch.float64)
    def test_default_dtype(self):
        self.assertEqual(torch.ones(1).dtype, torch.float64)

    def test_default_dtype_is_back(self):
        with set_default_dtype(torch.float16):
            self.assertEqual(torch.ones(1).dtype, torch.float16)
        with set_default_tensor_type(torch.DoubleTensor):
            self.assertEqual(torch.ones(1).dtype, torch.float64)
        self.assertEqual(torch.ones(1).dtype, torch.float32)

    def test_deterministic(self):
        with DeterministicGuard(True, warn_only=True):
            self.assertTrue(torch.are_deterministic_algorithms_enabled())
            self.assertTrue(torch.is_deterministic_algorithms_warn_only_enabled())
        self.assertFalse(torch.are_deterministic_algorithms_enabled())


@markDynamoStrictTest
class MarkedTest(TestCase):
    def test_compiled(self):
        counted = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(lambda x: x + 1, backend=counted)
        self.assertEqual(compiled(torch.ones(2)), torch.full((2,), 2.0))
        self.assertEqual(counted.frame_count, 1)

    @unMarkDynamoStrictTest
    @skipIfTorchInductor("not compiled here")
    def test_not_strict(self):
        self.assertFalse(torch.compiler.is_compiling())

    @xfailIfTorchDynamo
    def test_under_dynamo(self):
        self.assertEqual(1, 1)

    @xfailIf(True)
    def test_expected_failure(self):
        self.assertEqual(1, 2)

    @xfailIf(True)
    def test_unexpected_success(self):
        self.assertEqual(1, 1)

    @xfailIf(False)
    def test_plain_failure(self):
        self.assertEqual(1, 2)


class DtypeTest(TestCase):
    _default_dtype_check_enabled = True

    @classmethod
    def tearDownClass(cls):
        torch.set_default_dtype(torch.float32)
        super().tearDownClass()

    def test_changes_and_puts_back(self):
        torch.set_default_dtype(torch.float64)
        self.assertEqual(torch.ones(1).dtype, torch.float64)
        torch.set_default_dtype(torch.float32)

    def test_leaves_it(self):
        torch.set_default_dtype(torch.float64)


if __name__ == "__main__":
    run_tests()
