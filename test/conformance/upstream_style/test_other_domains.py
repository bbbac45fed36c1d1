"""Base classes of other parts of torch: TorchScript, quantization, pruning, nested tensors, opcheck and hypothesis."""

import gc
import os
import tempfile
import unittest

import torch
from hypothesis import given, strategies as st
from torch.testing import FileCheck
from torch.testing._internal import hypothesis_utils as hu
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_jit import JitCommonTestCase, check_against_reference
from torch.testing._internal.common_nn import module_tests
from torch.testing._internal.common_pruning import ImplementedSparsifier, SimpleLinear
from torch.testing._internal.common_quantization import (
    ConvModel,
    NodeSpec,
    QuantizationTestCase,
    SingleLayerLinearModel,
    skipIfNoFBGEMM,
    skipIfNoONEDNN,
    skipIfNoX86,
)
from torch.testing._internal.common_quantized import (
    override_qengines,
    override_quantized_engine,
    qengine_is_qnnpack,
    supported_qengines,
)
from torch.testing._internal.common_utils import (
    NestedTensorTestCase,
    TestCase,
    coalescedonoff,
    compare_equal_outs_and_grads,
    copy_func,
    custom_op,
    disable_gc,
    enable_profiling_mode,
    gcIfJetson,
    install_cpp_extension,
    is_iterable,
    iter_indices,
    num_profiled_runs,
    patch_test_members,
    random_symmetric_pd_matrix,
    random_well_conditioned_matrix,
    recover_orig_fp32_precision,
    run_concurrently,
    run_tests,
    skipIfCompiledWithoutNumpy,
    skipIfLegacyJitExecutor,
    skipIfNotRegistered,
    skipIfPythonVersionMismatch,
    skipIfTorchDynamo,
    to_gpu,
    unMarkDynamoStrictTest,
    xfail_inherited_tests,
)
from torch.testing._internal.jit_utils import JitTestCase, disable_autodiff_subgraph_inlining, execWrapper, make_global
from torch.testing._internal.optests import generate_opcheck_tests, opcheck
from torch.testing._internal.optests.generate_tests import FailuresDict
from torch.testing._internal.static_module import StaticModule

hu.assert_deadline_disabled()


class ScriptTest(JitTestCase):
    def test_scripted(self):
        def doubled(x: torch.Tensor) -> torch.Tensor:
            return x + x

        scripted = self.checkScript(doubled, (torch.ones(2),))
        FileCheck().check("aten::add").run(scripted.graph)
        self.assertEqual(scripted(torch.ones(1)), torch.full((1,), 2.0))

    def test_traced(self):
        self.checkTrace(lambda x: x.relu(), (torch.ones(2),))

    def test_exported(self):
        self.assertIsNotNone(self.getExportImportCopy(torch.jit.script(torch.nn.Linear(2, 2))))

    def test_error_is_highlighted(self):
        def broken(x):
            return x.no_such_method()

        with self.assertRaisesRegexWithHighlight(RuntimeError, "no_such_method", "x.no_such_method"):
            torch.jit.script(broken)

    def test_error_is_not_raised(self):
        with self.assertRaisesRegexWithHighlight(RuntimeError, "nothing", "nothing"):
            pass

    @skipIfLegacyJitExecutor("profiles")
    def test_profiled(self):
        with enable_profiling_mode(), num_profiled_runs(1), disable_autodiff_subgraph_inlining():
            self.assertEqual(torch.jit.script(torch.nn.ReLU())(torch.ones(1)), torch.ones(1))

    def test_own_code(self):
        scope = {}
        execWrapper("two = 1 + 1", globals(), scope)
        self.assertEqual(scope["two"], 2)
        make_global(int)

    def test_wrong(self):
        self.assertGraphContains(torch.jit.script(torch.nn.ReLU()).graph, "aten::tanh")


class CommonJitTest(JitCommonTestCase):
    def test_graph(self):
        graph = torch.jit.script(torch.nn.ReLU()).graph
        self.assertExportImport(graph, (torch.jit.script(torch.nn.ReLU())._c, torch.ones(2)))

    def test_autodiff(self):
        graph = torch.jit.script(rectified).graph
        self.assertAutodiffNode(graph, False, ["aten::relu"], [])
        self.assertIsNotNone(check_against_reference)


def rectified(x: torch.Tensor) -> torch.Tensor:
    return x.relu()


class QuantizedTest(QuantizationTestCase):
    @override_qengines
    def test_engines(self):
        self.assertIn(torch.backends.quantized.engine, supported_qengines)
        self.assertFalse(qengine_is_qnnpack() and torch.backends.quantized.engine != "qnnpack")

    @skipIfNoFBGEMM
    @skipIfNoX86
    def test_models(self):
        with override_quantized_engine("fbgemm"):
            model = torch.ao.quantization.quantize_dynamic(SingleLayerLinearModel(), dtype=torch.qint8)
        self.checkDynamicQuantizedLinear(model.fc1, torch.qint8)

    @skipIfNoONEDNN
    def test_nodes(self):
        graph = torch.fx.symbolic_trace(ConvModel())
        self.checkGraphModuleNodes(graph, expected_node=NodeSpec.call_module(torch.nn.Conv2d))

    def test_wrong_nodes(self):
        graph = torch.fx.symbolic_trace(ConvModel())
        self.checkGraphModuleNodes(graph, expected_node=NodeSpec.call_module(torch.nn.Linear))

    @given(X=hu.tensor(shapes=hu.array_shapes(1, 3, 1, 4), qparams=hu.qparams()), zero=st.just(0))
    def test_drawn(self, X, zero):
        values, (scale, zero_point, dtype) = X
        quantized = torch.quantize_per_tensor(torch.from_numpy(values), scale, zero_point, dtype)
        self.assertEqual(quantized.shape, values.shape)


class HelpersTest(TestCase):
    @skipIfCompiledWithoutNumpy
    @gcIfJetson
    @recover_orig_fp32_precision
    def test_matrices(self):
        matrix = random_symmetric_pd_matrix(3, dtype=torch.float64)
        self.assertEqual(matrix, matrix.mT)
        self.assertEqual(random_well_conditioned_matrix(3, 3, dtype=torch.float64, device="cpu").shape, (3, 3))
        self.assertEqual(len(list(iter_indices(torch.ones(2, 2)))), 4)

    @skipIfNotRegistered("NoSuchOperator", "has no such operator")
    def test_not_registered(self):
        self.fail("is skipped")

    @skipIfPythonVersionMismatch(lambda major, minor, micro: major == 2)
    def test_other_python(self):
        self.fail("is skipped")

    def test_at_once(self):
        with disable_gc():
            self.assertFalse(gc.isenabled())
        self.assertEqual(run_concurrently(lambda: 3, num_threads=2), [3, 3])

    def test_functions(self):
        self.assertEqual(copy_func(len.__class__ and (lambda: 4))(), 4)
        self.assertTrue(is_iterable([]))
        self.assertIsNotNone((to_gpu, install_cpp_extension, patch_test_members))

    @skipIfTorchDynamo("compiles by itself")
    def test_compiled(self):
        compare_equal_outs_and_grads(self, torch.sin, torch.compile(torch.sin, backend="eager"), [torch.ones(2)])

    def test_sparsifier(self):
        model = SimpleLinear()
        sparsifier = ImplementedSparsifier(test=3)
        sparsifier.prepare(model, [{"tensor_fqn": "linear1.weight"}])
        sparsifier.step()
        self.assertTrue((model.linear1.weight[0] == 0).all())

    def test_static(self):
        scripted = torch.jit.freeze(torch.jit.script(torch.nn.Linear(2, 2).eval()))
        self.assertEqual(StaticModule(scripted)(torch.ones(1, 2)).shape, (1, 2))

    def test_tables(self):
        self.assertGreater(len(module_tests), 5)
        with custom_op("upstream_style::nothing", lambda g, x: x, 9):
            pass


class NestedTest(NestedTensorTestCase):
    def test_same(self):
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
        self.assertEqualIgnoringNestedInts(nested, nested.clone())

    def test_differs(self):
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
        self.assertEqual(nested, nested + 1)


class Parent(TestCase):
    def test_inherited(self):
        self.assertNotIn("Child", type(self).__name__)

    def test_also_inherited(self):
        self.assertTrue(True)


@xfail_inherited_tests(["test_inherited"])
class Child(Parent):
    pass


class GenericTest(TestCase):
    @coalescedonoff
    def test_coalesced(self, device, coalesced):
        self.assertEqual(torch.device(device).type, "cpu")


library = torch.library.Library("upstream_style_ops", "FRAGMENT")
library.define("twice(Tensor x) -> Tensor")
library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
library.define("shifty(Tensor x) -> Tensor")
library.impl("shifty", lambda x: x, "CompositeExplicitAutograd")


class OperatorsTest(TestCase):
    def test_twice(self):
        self.assertEqual(torch.ops.upstream_style_ops.twice(torch.ones(2)), torch.full((2,), 2.0))

    def test_shifty(self):
        self.assertEqual(torch.ops.upstream_style_ops.shifty(torch.ones(2)), torch.ones(2))

    def test_opcheck(self):
        found = opcheck(
            torch.ops.upstream_style_ops.shifty.default,
            (torch.ones(2),),
            test_utils="test_schema",
            raise_exception=False,
        )
        self.assertNotEqual(found["test_schema"], "SUCCESS")


failures = os.path.join(tempfile.mkdtemp(), "failures.json")
FailuresDict(failures, {}).save()
generate_opcheck_tests(
    OperatorsTest, ["upstream_style_ops"], failures, {}, ["test_schema", "test_autograd_registration"]
)
unMarkDynamoStrictTest(OperatorsTest)
instantiate_device_type_tests(GenericTest, globals(), only_for="cpu")
unittest.skipIf(not supported_qengines, "no engine")(QuantizedTest)

if __name__ == "__main__":
    run_tests()
