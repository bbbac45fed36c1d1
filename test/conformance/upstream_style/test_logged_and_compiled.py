"""Test cases of torch's own modules: dynamo's, inductor's and the logging harness's, with modes that log and pairs."""

import logging
import unittest

import torch
import torch._dynamo.test_case
import torch._dynamo.testing
import torch._inductor.test_case
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.common_utils import (
    TEST_WITH_TORCHDYNAMO,
    instantiate_parametrized_tests,
    munge_exc,
    outs_and_grads,
    parametrize,
    raise_on_run_directly,
    skipIfCrossRef,
    skipIfWindows,
)
from torch.testing._internal.dynamo_pytree_test_utils import PytreeRegisteringTestCase
from torch.testing._internal.inductor_utils import HAS_CPU, HAS_GPU, HAS_TRITON, requires_gpu
from torch.testing._internal.logging_tensor import (
    LoggingTensor,
    LoggingTensorMode,
    capture_logs,
    log_input,
)
from torch.testing._internal.logging_utils import (
    LoggingTestCase,
    kwargs_to_settings,
    log_settings,
    logs_to_string,
    make_logging_test,
    make_settings_test,
    multiple_logs_to_string,
)
from torch.testing._internal.triton_utils import requires_gpu_and_triton
from torch.testing._internal.two_tensor import TwoTensor, TwoTensorMode


def added(x):
    return x.sin() + x.cos()


class DynamoTest(torch._dynamo.test_case.TestCase):
    def test_compiled(self):
        counting = torch._dynamo.testing.CompileCounter()
        self.assertEqual(torch.compile(added, backend=counting)(torch.ones(2)), added(torch.ones(2)))
        self.assertEqual((counting.frame_count, counting.op_count), (1, 3))

    def test_counters_begin_empty(self):
        self.assertEqual(len(counters["stats"]), 0)
        torch.compile(added, backend="eager")(torch.ones(2))
        self.assertGreater(counters["stats"]["unique_graphs"], 0)

    @torch._dynamo.config.patch(error_on_recompile=True)
    def test_recompiles(self):
        compiled = torch.compile(added, backend="eager", dynamic=False)
        compiled(torch.ones(2))
        with self.assertRaises(torch._dynamo.exc.RecompileError):
            compiled(torch.ones(3))

    def test_error_text(self):
        def broken(x):
            torch._dynamo.graph_break()
            return x

        self.assertExpectedInlineMunged(ZeroDivisionError, lambda: 1 // 0, """integer division or modulo by zero""")
        with self.assertRaises(torch._dynamo.exc.Unsupported):
            torch.compile(broken, backend="eager", fullgraph=True)(torch.ones(1))

    def test_munged(self):
        self.assertNotIn(__file__, munge_exc(ValueError(f"File {__file__}, line 12")))

    def test_gradients(self):
        _, grads = outs_and_grads(added, [torch.ones(2, requires_grad=True)], [torch.ones(2, requires_grad=True)])
        self.assertEqual(len(grads), 1)

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.assertEqual(torch.compile(added, backend="eager")(torch.ones(1)), torch.zeros(1))

    def test_wrong(self):
        self.assertEqual(torch.compile(added, backend="eager")(torch.ones(1)), torch.zeros(1))


class PytreesTest(PytreeRegisteringTestCase):
    def test_registered(self):
        class Pair:
            def __init__(self, a, b):
                self.a, self.b = a, b

        self.register_pytree_node(
            Pair,
            lambda pair: ((pair.a, pair.b), None),
            lambda values, _: Pair(*values),
            serialized_type_name="upstream_style.Pair",
        )
        self.assertEqual(torch.utils._pytree.tree_leaves(Pair(1, 2)), [1, 2])


class InductorTest(torch._inductor.test_case.TestCase):
    def test_case_is_torchs(self):
        self.assertTrue(issubclass(InductorTest, torch._dynamo.test_case.TestCase))

    @unittest.skipIf(not HAS_CPU, "no compiler")
    def test_flags(self):
        self.assertTrue(HAS_CPU)

    @requires_gpu()
    def test_on_gpu(self):
        self.assertTrue(HAS_GPU)

    @requires_gpu_and_triton
    def test_on_triton(self):
        self.assertTrue(HAS_TRITON)

    @parametrize("dynamic", [True, False])
    @skipIfCrossRef
    @skipIfWindows(msg="no compiler")
    def test_parametrized(self, dynamic):
        compiled = torch.compile(added, backend="aot_eager", dynamic=dynamic)
        self.assertEqual(compiled(torch.ones(2)), added(torch.ones(2)))


class LogsTest(LoggingTestCase):
    @make_logging_test(graph_breaks=True)
    def test_graph_breaks(self, records):
        def broken(x):
            torch._dynamo.graph_break()
            return x + 1

        torch.compile(broken, backend="eager")(torch.ones(2))
        self.assertGreater(len(records), 0)

    @make_logging_test(dynamo=logging.INFO)
    def test_dynamo(self, records):
        torch.compile(added, backend="eager")(torch.ones(10, 10))
        self.assertEqual([r for r in records if r.levelno < logging.INFO], [])

    @make_settings_test("torch._dynamo.utils")
    def test_module(self, records):
        logging.getLogger("torch._dynamo.utils").info("by its name")
        self.assertIn("by its name", [r.getMessage() for r in records])

    @make_logging_test(graph_code=True)
    def test_wrong(self, records):
        torch.compile(added, backend="eager")(torch.ones(2))
        self.assertEqual(len(records), 0)

    def test_settings(self):
        self.assertEqual(kwargs_to_settings(dynamo=logging.DEBUG, graph=True), "+dynamo,graph")
        with log_settings("+dynamo"):
            self.assertTrue(logging.getLogger("torch._dynamo").isEnabledFor(logging.DEBUG))

    def test_texts(self):
        stream, listening = logs_to_string("torch._dynamo.output_graph", "graph_code")
        with listening():
            torch.compile(added, backend="eager")(torch.ones(2))
        self.assertIn("sin", stream.getvalue())
        self.assertTrue(callable(multiple_logs_to_string))


class ModesTest(torch._dynamo.test_case.TestCase):
    def test_logging_tensor(self):
        with capture_logs() as logs:
            x = LoggingTensor(torch.ones(2))
            log_input("x", x)
            _ = x + 1
        self.assertExpectedInline(
            "\n".join(logs),
            """\
$0: f32[2] = input('x')
$1: f32[2] = torch._ops.aten.add.Tensor($0, 1)""",
        )

    def test_logging_mode(self):
        with capture_logs(is_mode=True) as logs, LoggingTensorMode():
            torch.ones(2).mul(2)
        self.assertIn("aten.mul.Tensor", logs[-1])

    def test_two_tensors(self):
        with TwoTensorMode():
            made = torch.ones(2)
        self.assertIsInstance(made, TwoTensor)
        with FakeTensorMode():
            self.assertEqual(torch.empty(3, 4).shape, (3, 4))

    def test_two_tensors_are_compared(self):
        self.assertEqual(TwoTensor(torch.ones(2), torch.ones(2)), TwoTensor(torch.ones(2), torch.zeros(2)))


instantiate_parametrized_tests(InductorTest)

if __name__ == "__main__":
    if TEST_WITH_TORCHDYNAMO:
        raise_on_run_directly("test/test_dynamo.py")
    from torch._dynamo.test_case import run_tests

    run_tests()
