"""PyTorch's list of disabled tests as expectations: by the real command, and name by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch_testing_shim._runner.expectations.import_disabled import (
    DisabledTest,
    TestClasses,
    expectations_of,
    here,
    read_classes,
)
from torch_testing_shim._runner.expectations.reading import parse_expectations
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from expectation_samples import SKIP
from runner_samples import RunnerTestCase

GENERIC = "class TestFoo: pass\ninstantiate_device_type_tests(TestFoo, globals())"
CLASSES = {"a/test_x": read_classes("class TestFoo: pass\nclass TestBarBaz: pass"), "test_y": read_classes(GENERIC)}


def covered(test_class: str, method: str, module: str = "__main__") -> dict[str, list[str]]:
    """Files -> which of these names the entries cover there."""
    names = [
        f"{owner}.test_a{suffix}"
        for owner in ("TestFoo", "TestFooCPU", "TestBarBaz")
        for suffix in ("", "_cpu", "_npu_float32", "_param_cpu", "b")
    ]
    entries, _ = expectations_of([DisabledTest(method, module, test_class)], CLASSES)
    return {entry.pattern.file: [name for name in names if entry.pattern.covers_test(name)] for entry in entries}


class NamesTest(TestCase):
    def test_a_class_stands_for_those_whose_names_begin_so(self) -> None:
        self.assertEqual({"a/test_x": ["TestBarBaz.test_a"]}, covered("TestBar", "test_a"))
        self.assertEqual({}, covered("TestGone", "test_a"))

    def test_of_generic_classes_the_names_for_each_device_and_dtype_are_meant(self) -> None:
        plain = ["TestFoo.test_a", "TestFooCPU.test_a"]
        made = [
            f"{owner}.test_a{suffix}" for owner in ("TestFoo", "TestFooCPU") for suffix in ("", "_cpu", "_npu_float32")
        ]
        self.assertEqual({"a/test_x": plain, "test_y": made}, covered("TestFoo", "test_a"))
        self.assertEqual({"test_y": ["TestFooCPU.test_a_cpu"]}, covered("TestFooCPU", "test_a_cpu"))

    def test_a_module_that_is_told_names_the_file(self) -> None:
        for module in ("a.test_x", "test.a.test_x", "test_x"):
            self.assertEqual(
                {"a/test_x": ["TestFoo.test_a", "TestFooCPU.test_a"]}, covered("TestFoo", "test_a", module)
            )
        self.assertEqual({}, covered("TestFoo", "test_a", "b.test_x"))

    def test_platforms_go_by_the_lists_names(self) -> None:
        self.assertEqual(
            [("linux",), ("mac", "macos"), ("other",)], [here(one) for one in ("linux", "darwin", "other")]
        )


class CommandTest(RunnerTestCase):
    def test_the_list_becomes_a_file_for_the_tests_that_are_here(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        listed = {
            "test_a (__main__.SampleTest)": ["https://issue/1", []],
            "test_b (__main__.SampleTest)": [7, "https://issue/7", ["linux", "rocm"]],
            "test_c (__main__.SampleTest)": ["https://issue/8", ["rocm"]],
            "test_a (__main__.TestGone)": ["https://issue/9", []],
        }
        (self.tree / "disabled.json").write_text(json.dumps(listed))
        result = self.run_test("--import-disabled-tests", "disabled.json", "e.toml", "--platform", "linux")
        counts = "2 entries for 2 of 4 disabled tests"
        told = f"e.toml: {counts}; 1 have no class in a test file here, 1 are disabled on other platforms\n"
        self.assertEqual((0, told, ""), (result.returncode, result.stdout, result.stderr))
        text = (self.tree / "e.toml").read_text()
        entries = parse_expectations(text, "e.toml")
        self.assertEqual(["test_x::SampleTest*.test_a", "test_x::SampleTest*.test_b"], [entry.id for entry in entries])
        self.assertEqual({(SKIP, "disabled in PyTorch (https://issue/7)")}, {(e.expect, e.why) for e in entries[1:]})
        self.assertTrue(text.startswith("# Tests that PyTorch has disabled on linux.\n\n[[test]]\n"))

    def test_what_is_wrong_is_told_in_one_line(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        (self.tree / "list.json").write_text("[]")
        (self.tree / "torn.json").write_text("{")
        (self.tree / "odd.json").write_text('{"test_a": ["https://1", []]}')
        for name, message in (
            ("none.json", "cannot read the list of disabled tests 'none.json': No such file or directory"),
            ("list.json", "'list.json' is no list of disabled tests: it is no JSON object"),
            ("torn.json", "'torn.json' is no list of disabled tests: Expecting property name"),
            ("odd.json", "'odd.json' is no list of disabled tests: 'test_a' does not look like \"test_name"),
        ):
            result = self.run_test("--import-disabled-tests", name, "e.toml")
            self.assertEqual((2, 1), (result.returncode, len(result.stderr.splitlines())), result.stderr)
            self.assertIn(f"run_test.py: error: {message}", result.stderr)
        (self.tree / "e.toml").write_text("mine")
        result = self.run_test("--import-disabled-tests", "list.json", "e.toml")
        self.assertEqual((2, "mine"), (result.returncode, (self.tree / "e.toml").read_text()))
        self.assertIn("'e.toml' is there already; name a new file", result.stderr)


SOURCE = """
if True:
    class Plain: pass
class Generic(Plain):
    class Inner: pass
class Other: pass
instantiate_device_type_tests(Generic, globals(), only_for="cpu")
common.instantiate_device_type_tests(Other, globals())
instantiate_parametrized_tests(Plain)
"""


class TestClassesTest(TestCase):
    def test_classes_and_which_are_generic(self) -> None:
        expected = TestClasses(frozenset({"Plain", "Generic", "Inner", "Other"}), frozenset({"Generic", "Other"}))
        self.assertEqual(expected, read_classes(SOURCE))

    def test_what_is_no_python_has_none(self) -> None:
        for source in ("class A(:", "\0", ""):
            self.assertEqual(TestClasses(), read_classes(source))


if __name__ == "__main__":
    run_tests()
