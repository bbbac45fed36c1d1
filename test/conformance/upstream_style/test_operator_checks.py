"""op_db and its relatives: samples, error inputs, references, forward mode and what decorates single operators."""

import unittest
from functools import partial

import torch
from torch.testing import make_tensor
from torch.testing._internal.autograd_function_db import autograd_function_db
from torch.testing._internal.common_device_type import (
    OpDTypes,
    instantiate_device_type_tests,
    onlyNativeDeviceTypes,
    ops,
    skip,
    skipOps,
    tol,
    toleranceOverride,
    xfail,
)
from torch.testing._internal.common_dtype import floating_and_complex_types, get_all_dtypes
from torch.testing._internal.common_methods_invocations import (
    BinaryUfuncInfo,
    DecorateInfo,
    OpInfo,
    SampleInput,
    UnaryUfuncInfo,
    binary_ufuncs,
    op_db,
    python_ref_db,
    reduction_ops,
    unary_ufuncs,
    wrapper_set_seed,
)
from torch.testing._internal.common_subclass import DiagTensorBelow, subclass_db
from torch.testing._internal.common_utils import (
    TEST_WITH_TORCHDYNAMO,
    TestCase,
    TestGradients,
    clone_input_helper,
    first_sample,
    gradcheck,
    is_iterable_of_tensors,
    noncontiguous_like,
    parametrize,
    run_tests,
    slowTest,
    suppress_warnings,
    unMarkDynamoStrictTest,
)
from torch.testing._internal.composite_compliance import check_with_mode, is_view_fn
from torch.testing._internal.custom_op_db import custom_op_db
from torch.testing._internal.hop_db import hop_db
from torch.testing._internal.opinfo.core import ReductionOpInfo, sample_inputs_elementwise_binary

NAMES = ("cumsum", "nn.functional.gelu", "linalg.norm", "cat")
CHOSEN = [op for op in op_db if op.name in NAMES and not op.variant_test_name]
BINARY = [op for op in binary_ufuncs if op.name in ("atan2", "bitwise_and")]
UNARY = [op for op in unary_ufuncs if op.name in ("exp", "sign")]
REDUCTIONS = [op for op in reduction_ops if op.name in ("amax", "mean")]
REFERENCES = [op for op in python_ref_db if op.name in ("_refs.add", "_refs.nn.functional.relu")]
DIFFERENTIABLE = partial(ops, dtypes=OpDTypes.supported, allowed_dtypes=(torch.float64,))


def samples_of_tripled(op, device, dtype, requires_grad, **kwargs):
    make = partial(make_tensor, device=device, dtype=dtype, requires_grad=requires_grad, low=-1, high=1)
    yield SampleInput(make((2, 3)))
    yield SampleInput(make(()), kwargs={"by": 2}).with_metadata(output_process_fn_grad=torch.sum)


OWN = [
    OpInfo(
        "tripled",
        op=lambda x, by=3: x * by,
        ref=lambda x, by=3: x * by,
        dtypes=floating_and_complex_types(),
        sample_inputs_func=samples_of_tripled,
        supports_out=False,
        supports_forward_ad=True,
        skips=(
            DecorateInfo(unittest.skip("not this dtype"), "TestOwn", "test_samples", dtypes=(torch.complex64,)),
            DecorateInfo(unittest.expectedFailure, "TestOwn", "test_fails", device_type="cpu"),
        ),
        decorators=(DecorateInfo(toleranceOverride({torch.float32: tol(1, 1)}), "TestOwn", "test_tolerance"),),
    )
]


class TestOperators(TestCase):
    @ops(CHOSEN, dtypes=OpDTypes.any_common_cpu_cuda_one)
    def test_samples(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            with self.subTest(sample=sample.summary()):
                self.assertIsNotNone(op(sample.input, *sample.args, **sample.kwargs))

    @suppress_warnings
    @ops([op for op in CHOSEN if op.error_inputs_func is not None], dtypes=OpDTypes.none)
    def test_error_inputs(self, device, op):
        for error in op.error_inputs(device):
            sample = error.sample_input
            with self.assertRaisesRegex(error.error_type, error.error_regex):
                op(sample.input, *sample.args, **sample.kwargs)

    @onlyNativeDeviceTypes
    @ops([op for op in UNARY if op.ref is not None], allowed_dtypes=(torch.float64,))
    def test_reference(self, device, dtype, op):
        for sample in op.reference_inputs(device, dtype):
            self.compare_with_reference(op, op.ref, sample)

    @ops(CHOSEN, allowed_dtypes=(torch.float32,))
    def test_noncontiguous(self, device, dtype, op):
        sample = first_sample(self, op.sample_inputs(device, dtype))
        other = sample.noncontiguous()
        self.assertEqual(op(sample.input, *sample.args, **sample.kwargs), op(other.input, *other.args, **other.kwargs))

    @ops(BINARY, dtypes=OpDTypes.unsupported)
    def test_unsupported(self, device, dtype, op):
        make = partial(make_tensor, (2,), device=device, dtype=dtype)
        with self.assertRaises((RuntimeError, TypeError)):
            op(make(), make())

    @skipOps({xfail("amax", device_type="cpu"), skip("mean")})
    @ops(REDUCTIONS, allowed_dtypes=(torch.float32,))
    def test_reductions(self, device, dtype, op):
        self.assertIsInstance(op, ReductionOpInfo)
        self.assertEqual(op.name, "mean")

    @ops(REFERENCES, allowed_dtypes=(torch.float32,))
    def test_python_references(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            self.assertEqual(
                op(sample.input, *sample.args, **sample.kwargs),
                op.torch_opinfo(sample.input, *sample.args, **sample.kwargs),
            )

    @slowTest
    @ops(CHOSEN, allowed_dtypes=(torch.float32,))
    def test_slow(self, device, dtype, op):
        self.fail("is not asked for")

    @ops(BINARY[:1], dtypes=OpDTypes.any_one)
    def test_wrong(self, device, dtype, op):
        self.assertIsInstance(op, UnaryUfuncInfo)

    @parametrize("dtype_count", [1, 2])
    @ops(UNARY, dtypes=OpDTypes.supported, allowed_dtypes=get_all_dtypes(include_half=False)[:2])
    def test_parametrized(self, device, dtype, op, dtype_count):
        self.assertIn(op.name, ("exp", "sign"))
        self.assertIsInstance(BINARY[0], BinaryUfuncInfo)


class TestOwn(TestCase):
    @ops(OWN)
    def test_samples(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            self.assertEqual(op(sample.input, **sample.kwargs), op.ref(sample.input, **sample.kwargs))
            self.assertEqual(noncontiguous_like(sample.input), sample.input)

    @ops(OWN, allowed_dtypes=(torch.float32,))
    def test_fails(self, device, dtype, op):
        self.fail("as expected")

    @ops(OWN, allowed_dtypes=(torch.float32, torch.float64))
    def test_tolerance(self, device, dtype, op):
        self.assertEqual(torch.ones(1, dtype=dtype), torch.ones(1, dtype=dtype) + 0.5)


@unMarkDynamoStrictTest
class TestGradientsOfOwn(TestGradients):
    @DIFFERENTIABLE(OWN)
    def test_fn_grad(self, device, dtype, op):
        self._grad_test_helper(device, dtype, op, op.get_op())

    @DIFFERENTIABLE(OWN)
    def test_fn_gradgrad(self, device, dtype, op):
        self._skip_helper(op, device, dtype)
        self._check_helper(device, dtype, op, op.get_op(), "bwgrad_bwgrad")

    @DIFFERENTIABLE(OWN)
    def test_forward_mode(self, device, dtype, op):
        self._grad_test_helper(
            device, dtype, op, op.get_op(), check_forward_ad=True, check_backward_ad=False, check_batched_grad=False
        )

    @DIFFERENTIABLE([op for op in op_db if op.name == "cumsum"])
    def test_inplace_gradgrad(self, device, dtype, op):
        if not op.inplace_variant:
            self.skipTest("has no variant in place")
        inplace = self._get_safe_inplace(op.get_inplace())
        sample = next(op.sample_inputs(device, dtype, requires_grad=True))
        self.assertTrue(gradcheck(partial(inplace, **sample.kwargs), (sample.input, *sample.args)))


class TestOtherTables(TestCase):
    @ops(autograd_function_db[:3], allowed_dtypes=(torch.float32,))
    def test_autograd_functions(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype, requires_grad=True):
            result = op(sample.input, *sample.args, **sample.kwargs)
            self.assertTrue(isinstance(result, torch.Tensor) or is_iterable_of_tensors(result))

    @ops(custom_op_db[:3], allowed_dtypes=(torch.float32,))
    def test_custom_operators(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            torch.library.opcheck(op.op, (sample.input, *sample.args), sample.kwargs)

    @ops([op for op in hop_db if op.name in ("cond", "map")], allowed_dtypes=(torch.float32,))
    def test_higher_order(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            args = [clone_input_helper(each) for each in sample.args]
            self.assertIsNotNone(op(sample.input, *args, **sample.kwargs))

    @parametrize("tensor_cls", list(subclass_db)[:3])
    def test_subclasses(self, device, tensor_cls):
        made = subclass_db[tensor_cls].create_fn((2, 2))
        self.assertEqual(made.shape, (2, 2))
        self.assertIsNotNone(DiagTensorBelow(torch.ones(2)))

    def test_compliance(self, device):
        self.assertTrue(is_view_fn(torch.ops.aten.view.default) or not TEST_WITH_TORCHDYNAMO)
        self.assertTrue(callable(check_with_mode))
        self.assertEqual(wrapper_set_seed(torch.rand, 2), wrapper_set_seed(torch.rand, 2))
        binary = next(op for op in binary_ufuncs if op.name == "add")
        self.assertGreater(len(list(sample_inputs_elementwise_binary(binary, device, torch.float32, False))), 3)


instantiate_device_type_tests(TestOperators, globals(), only_for="cpu")
instantiate_device_type_tests(TestOwn, globals(), only_for="cpu")
instantiate_device_type_tests(TestGradientsOfOwn, globals(), only_for="cpu")
instantiate_device_type_tests(TestOtherTables, globals(), only_for="cpu")

if __name__ == "__main__":
    run_tests()
