"""The face itself: `TestCase`'s assertions and set-up, flags, guards and the decorators that skip."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import torch
import torch._dynamo.testing

from torch_testing_shim import common_utils
from torch_testing_shim._upstream.graft import ours_in
from torch_testing_shim.common_utils import (
    SEED,
    TestCase,
    lazy_skip_if,
    requires_accelerator,
    requires_cuda,
    requires_multigpu,
    run_tests,
    serialTest,
    set_default_dtype,
    set_rng_seed,
    skip_but_pass_in_sandcastle_if,
    skipIfRocm,
    skipIfTorchDynamo,
    slowTest,
)

ROOT = Path(__file__).resolve().parents[2]


class Sample(TestCase):
    """A test case whose test is whatever is put into `body`; itself it passes."""

    body: Callable[[Any], object] = staticmethod(lambda case: None)

    def test(self) -> None:
        type(self).body(self)


def run_body(body: Callable[[Any], object], *, environ: dict[str, str] | None = None) -> unittest.TestResult:
    """The result of a test with this body, run with these variables and no other of ours."""
    cls: Any = type("Sample", (Sample,), {"body": staticmethod(body), "__module__": __name__})
    result = unittest.TestResult()
    with environment(environ or {}):
        cls("test").run(result)
    return result


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    names = (
        "PYTORCH_TEST_WITH_SLOW",
        "PYTORCH_TEST_SKIP_FAST",
        "SLOW_TESTS_FILE",
        "DISABLED_TESTS_FILE",
        "EXPECTTEST_ACCEPT",
    )
    with mock.patch.dict(os.environ, variables):
        for name in (*names, "PYTORCH_PRINT_REPRO_ON_FAILURE"):
            if name not in variables:
                os.environ.pop(name, None)
        yield


def failure(body: Callable[[Any], object]) -> str:
    """The message that a body fails with."""
    try:
        body(Sample("test"))
    except AssertionError as error:
        return str(error)
    raise AssertionError("the body did not fail")


class AssertEqualTest(TestCase):
    def test_numbers_and_messages(self) -> None:
        self.assertExpectedInline(
            failure(lambda case: case.assertEqual(1, 2, "of apples")),
            """\
Scalars are not equal!

Expected 2 but got 1.
Absolute difference: 1
Relative difference: 0.5
of apples""",
        )
        self.assertExpectedInline(
            failure(lambda case: case.assertEqual([1], [2], lambda text: text.splitlines()[0].upper())),
            """AT ITEM [0]: SCALARS ARE NOT EQUAL!""",
        )

    def test_shapes_and_dtypes(self) -> None:
        self.assertExpectedInline(
            failure(lambda case: case.assertEqual({"w": torch.ones(2)}, {"w": torch.ones(3)})),
            """\
at item ['w']: The values for attribute 'shape' do not match: torch.Size([2]) != torch.Size([3]).""",
        )
        self.assertExpectedInline(
            failure(lambda case: case.assertEqual(torch.ones(2), torch.ones(2, dtype=torch.float64))),
            """The values for attribute 'dtype' do not match: torch.float32 != torch.float64.""",
        )
        self.assertEqualIgnoreType(torch.ones(2), torch.ones(2, dtype=torch.float64))
        self.assertEqual(torch.ones(2), torch.ones(2, dtype=torch.float64), exact_dtype=False)

    def test_strings_show_a_diff(self) -> None:
        self.assertExpectedInline(
            failure(lambda case: case.assertEqual("a\nb\n", "a\nc\n")),
            """\
'a\\nb\\n' != 'a\\nc\\n'
  a
- b
+ c
""",
        )

    def test_options_reach_the_comparison(self) -> None:
        self.assertEqual(torch.tensor(1.0), torch.tensor(1.1), atol=0.2, rtol=0.0)
        with self.assertRaisesRegex(ValueError, "both atol and rtol or neither"):
            self.assertEqual(1.0, 1.1, atol=0.2)
        for option, other in [("exact_stride", torch.ones(3, 2).t()), ("exact_layout", torch.ones(2, 3).to_sparse())]:
            self.assertEqual(torch.ones(2, 3), other)
            self.assertNotEqual(torch.ones(2, 3), other, **{option: True})
        self.assertNotEqual(float("nan"), float("nan"), equal_nan=False)

    def test_precision_and_rel_tol(self) -> None:
        case = Sample("test")
        case.precision = 0.2
        case.assertEqual(torch.tensor(1.0), torch.tensor(1.1))
        case.precision, case.rel_tol = 0.0, 0.2
        case.assertEqual(1.0, 1.1)
        case.rel_tol = 0.0
        case.assertNotEqual(1.0, 1.1)

    def test_not_equal(self) -> None:
        self.assertNotEqual([1, torch.ones(2)], [1, torch.zeros(2)])
        self.assertIn("the values are equal: [1]", failure(lambda case: case.assertNotEqual([1], [1])))
        with self.assertRaises(ValueError):  # neither equal nor unequal, but asked wrongly
            self.assertNotEqual(1, 2, atol=1)

    def test_frames_of_the_harness_are_left_out(self) -> None:
        ((_, report),) = run_body(lambda case: case.assertEqual([torch.ones(2)], [torch.zeros(2)])).failures
        files = [line for line in report.splitlines() if line.lstrip().startswith("File ")]
        self.assertEqual(len(files), 2, report)
        self.assertTrue(all(__file__ in line for line in files), report)


class OtherAssertionsTest(TestCase):
    def test_inline_text(self) -> None:
        self.assertExpectedInline("\x1b[31mred\x1b[0m", """red""")
        self.assertExpectedInline("# why\n\na", """a""", ignore_comments=True, ignore_empty_lines=True)
        with environment({}), self.assertRaises(AssertionError):
            Sample("test").assertExpectedInline("# why\na", """a""")


class SetUpTest(TestCase):
    def test_every_test_starts_with_the_same_seed(self) -> None:
        drawn = []
        for _ in range(2):
            random.seed()
            torch.seed()
            result = run_body(lambda case: drawn.append((random.random(), torch.rand(1).item())))
            self.assertTrue(result.wasSuccessful())
        self.assertEqual(drawn[0], drawn[1], atol=0, rtol=0)
        set_rng_seed(SEED)
        self.assertEqual(drawn[0], (random.random(), torch.rand(1).item()), atol=0, rtol=0)

    def test_the_seed_of_the_run_is_every_tests(self) -> None:
        drawn = []
        run_body(lambda case: drawn.append(torch.rand(1).item()), environ={"TORCH_TESTING_SHIM_SEED": "7"})
        set_rng_seed(7)
        self.assertEqual(drawn, [torch.rand(1).item()], atol=0, rtol=0)

    def test_grad_mode_is_put_back(self) -> None:
        run_body(lambda case: torch.set_grad_enabled(False))
        self.assertTrue(torch.is_grad_enabled())

    def test_overrides_of_torch_end_with_the_test_that_leaves_them(self) -> None:
        def disable(case: Any) -> None:
            torch._C.DisableTorchFunctionSubclass().__enter__()

        for body, told in (
            (
                lambda case: torch.set_default_device("meta"),
                "began with 0 torch function modes and ends with 1",
            ),
            (disable, "began with torch's overrides in"),
        ):
            result = run_body(body)
            self.assertIn(told, result.failures[0][1])
            self.assertTrue(run_body(lambda case: case.assertEqual(torch.ones(1).device.type, "cpu")).wasSuccessful())
            self.assertTrue(torch._C._is_torch_function_enabled())

    def test_the_default_dtype_is_checked_where_a_file_says_so(self) -> None:
        with mock.patch.object(TestCase, "_default_dtype_check_enabled", True):
            self.assertTrue(run_body(lambda case: None).wasSuccessful())
            result = run_body(lambda case: torch.set_default_dtype(torch.float64))
            self.assertIn("ends with torch.float64 as the default dtype", result.failures[0][1])
            self.assertEqual(torch.get_default_dtype(), torch.float32)
            with set_default_dtype(torch.float16):
                result = run_body(lambda case: None)
            self.assertIn("begins with torch.float16 as the default dtype", result.failures[0][1])

    def test_the_stance_of_compile_is_put_back(self) -> None:
        counter = torch._dynamo.testing.CompileCounter()
        run_body(lambda case: torch.compiler.set_stance("force_eager"))
        torch.compile(lambda x: x + 1, backend=counter)(torch.ones(1))
        self.assertEqual(counter.frame_count, 1)

    def test_each_test_begins_with_nothing_compiled(self) -> None:
        counter = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(lambda x: x + 1, backend=counter)
        for _ in range(2):
            run_body(lambda case: compiled(torch.ones(1)))
        self.assertEqual(counter.frame_count, 2)

    def test_sparse_tensors_are_checked_while_a_test_runs(self) -> None:
        before = torch.sparse.check_sparse_tensor_invariants.is_enabled()
        seen = []
        run_body(lambda case: seen.append(torch.sparse.check_sparse_tensor_invariants.is_enabled()))
        self.assertEqual(seen, [True])
        self.assertEqual(torch.sparse.check_sparse_tensor_invariants.is_enabled(), before)

    def test_both_spellings_of_the_method_name(self) -> None:
        for case in (Sample("test"), Sample(method_name="test"), Sample(methodName="test")):
            self.assertEqual(case.id().rpartition(".")[2], "test")

    def test_fast_tests_can_be_left_out(self) -> None:
        ((_, reason),) = run_body(lambda case: None, environ={"PYTORCH_TEST_SKIP_FAST": "1"}).skipped
        self.assertEqual(reason, "test is fast; PYTORCH_TEST_SKIP_FAST is set")

    def test_a_failure_in_a_removed_folder_is_told(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        ((_, report),) = run_body(lambda case: case.fail("no")).failures
        self.assertRegex(
            report, r"AssertionError: no\n\nTo run this test again:\n.*test_common_utils.py Sample.test\n$"
        )

    def test_a_failure_says_how_to_run_it_again(self) -> None:
        # on CI the profile is another, and so a part of the command, as what this run's options have set is
        usual = {"PYTORCH_HYPOTHESIS_PROFILE": "dev", "TORCH_TESTING_SHIM_SHARE_DEVICES": ""}
        ((_, report),) = run_body(lambda case: case.fail("no"), environ=usual).failures
        self.assertRegex(
            report, r"AssertionError: no\n\nTo run this test again:\n    python \S*test_common_utils.py Sample.test\n$"
        )
        quiet = run_body(lambda case: case.fail("no"), environ={"PYTORCH_PRINT_REPRO_ON_FAILURE": "0"})
        self.assertNotIn("again", quiet.failures[0][1])
        slow = run_body(lambda case: 1 / 0, environ=usual | {"PYTORCH_TEST_WITH_SLOW": "1"})
        self.assertRegex(slow.errors[0][1], r"    PYTORCH_TEST_WITH_SLOW=1 python \S+ Sample.test\n$")

    def test_a_skip_says_nothing_more(self) -> None:
        ((_, reason),) = run_body(lambda case: case.skipTest("why")).skipped
        self.assertEqual(reason, "why")


class SkipMarksTest(TestCase):
    def skip_reason(self, decorated: Any, environ: dict[str, str] | None = None) -> str | None:
        cls: Any = type("Marked", (Sample,), {"test": decorated, "__module__": __name__})
        result = unittest.TestResult()
        with environment(environ or {}):
            cls("test").run(result)
        ran = result.testsRun or len(result.skipped)  # Python 3.12.1 does not count what a decorator skips
        self.assertEqual((result.failures, result.errors, ran), ([], [], 1))
        return result.skipped[0][1] if result.skipped else None

    def test_slow_tests_run_only_where_wanted(self) -> None:
        marked = slowTest(lambda self: None)
        self.assertEqual(self.skip_reason(marked), "test is slow; set PYTORCH_TEST_WITH_SLOW=1 to run it")
        wanted = {"PYTORCH_TEST_WITH_SLOW": "1", "PYTORCH_TEST_SKIP_FAST": "1"}
        self.assertIsNone(self.skip_reason(marked, wanted))

    def test_conditions_are_asked_when_the_test_runs(self) -> None:
        answers = [False]
        marked = lazy_skip_if(lambda: answers[0], "not now")(lambda self: None)
        self.assertIsNone(self.skip_reason(marked))
        answers[0] = True
        self.assertEqual(self.skip_reason(marked), "not now")

    def test_a_class_is_skipped_test_by_test(self) -> None:
        cls: Any = lazy_skip_if(lambda: True, "whole class")(type("Skipped", (Sample,), {"__module__": __name__}))
        result = unittest.TestResult()
        cls("test").run(result)
        self.assertEqual([reason for _, reason in result.skipped], ["whole class"])

    def test_marks_that_say_what_torch_is(self) -> None:
        expected = None if common_utils.TEST_CUDA else "needs a CUDA device"
        self.assertEqual(self.skip_reason(requires_cuda(lambda self: None)), expected)
        expected = None if common_utils.TEST_ACCELERATOR else "needs an accelerator"
        self.assertEqual(self.skip_reason(requires_accelerator(lambda self: None)), expected)
        expected = None if common_utils.TEST_MULTIACCELERATOR else "needs at least 2 accelerators"
        self.assertEqual(self.skip_reason(requires_multigpu(Sample.test)), expected)  # a lambda is no test to pytest
        rocm = "skipIfRocm: why" if torch.version.hip else None
        self.assertEqual(self.skip_reason(skipIfRocm(msg="why")(lambda self: None)), rocm)
        self.assertEqual(self.skip_reason(skipIfRocm(lambda self: None)) is not None, rocm is not None)
        self.assertIsNone(self.skip_reason(skipIfTorchDynamo("why")(lambda self: None)))

    def test_sandcastle_marks_are_plain_skips(self) -> None:
        self.assertEqual(self.skip_reason(skip_but_pass_in_sandcastle_if(True, "why")(lambda self: None)), "why")
        self.assertIsNone(self.skip_reason(skip_but_pass_in_sandcastle_if(False, "why")(lambda self: None)))

    def test_marks_without_their_brackets_are_refused(self) -> None:
        for mark in (skipIfTorchDynamo, serialTest):
            with self.assertRaisesRegex(TypeError, f"write @{mark.__name__}"):
                mark(lambda self: None)


class ImportTest(TestCase):
    def test_without_numpy_and_without_traces(self) -> None:
        """Import the face where numpy cannot be imported, in an empty folder, and compare something."""
        program = (
            "import sys; sys.modules['numpy'] = None\n"
            "import warnings; warnings.simplefilter('ignore')\n"
            "import torch\n"
            "from torch_testing_shim import common_utils as c\n"
            "import hypothesis\n"
            "class T(c.TestCase):\n"
            "    def test(self): self.assertEqual(torch.ones(2), [1, 1]); c.set_rng_seed()\n"
            "T('test').debug()\n"
            "print(c.TEST_CUDA and torch.cuda.is_initialized(), hypothesis.settings.default.max_examples)\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            env = {"PYTHONPATH": str(ROOT), "PYTORCH_HYPOTHESIS_PROFILE": "debug", "HOME": folder, "PATH": ""}
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
            self.assertEqual((done.stdout, done.returncode), ("False 1000\n", 0), done.stderr)
            self.assertEqual([path.name for path in Path(folder).iterdir()], [])

    def test_all_names_are_there(self) -> None:
        for name in ours_in(common_utils.__name__):
            getattr(common_utils, name)
        for name in common_utils.LAZY_FLAGS:
            self.assertIsInstance(getattr(common_utils, name), bool, name)
        with self.assertRaisesRegex(AttributeError, "no attribute 'TEST_WITH_NOTHING'"):
            common_utils.TEST_WITH_NOTHING  # noqa: B018

    def test_torchscript_runs_as_it_does_by_default(self) -> None:
        with common_utils.enable_profiling_mode():
            self.assertEqual(common_utils.ProfilingMode.PROFILING, common_utils.GRAPH_EXECUTOR)

    def test_profiles_have_no_deadline(self) -> None:
        for name, examples in [("dev", 10), ("debug", 1000), ("pytorch_ci", 50)]:
            profile = hypothesis.settings.get_profile(name)
            self.assertEqual((profile.max_examples, profile.deadline), (examples, None))
            self.assertEqual(profile.derandomize, name == "pytorch_ci")


if __name__ == "__main__":
    run_tests()
