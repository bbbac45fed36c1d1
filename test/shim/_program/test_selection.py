"""Which tests names and patterns choose."""

from __future__ import annotations

import doctest
import tempfile
import types
import unittest
from pathlib import Path

from torch_testing_shim._program.options import UsageError
from torch_testing_shim._program.selection import load, select, test_name, tests_to_skip
from torch_testing_shim.common_utils import TestCase, run_tests


def sample() -> list[unittest.TestCase]:
    class Apple(unittest.TestCase):
        def test_red(self) -> None: ...
        def test_green(self) -> None: ...

    class Outer:
        class Pear(unittest.TestCase):
            def test_green(self) -> None: ...

    module = types.ModuleType("fruit")
    for cls, name in ((Apple, "Apple"), (Outer.Pear, "Outer.Pear")):
        cls.__module__, cls.__qualname__ = "fruit", name
        setattr(module, name.rpartition(".")[2], cls)
    return load(module)


class LoadTest(TestCase):
    def test_what_is_marked_as_skipped_can_be_left_out(self) -> None:
        class Cases(unittest.TestCase):
            @unittest.skip("always")
            def test_marked(self) -> None: ...
            def test_plain(self) -> None: ...

        skipped_class = unittest.skip("whole class")(type("Skipped", (unittest.TestCase,), {"test": lambda self: None}))
        module = types.ModuleType("cases")
        module.Cases, module.Skipped = Cases, skipped_class  # type: ignore[attr-defined]
        self.assertEqual(3, len(load(module)))
        names = [test._testMethodName for test in load(module, omit_skipped=True)]
        self.assertEqual(["test_plain", "test"], names)


class SelectTest(TestCase):
    def selected(self, names: list[str] = [], patterns: list[str] = [], excluded: list[str] = []) -> list[str]:  # noqa: B006
        return [test_name(test) for test in select(sample(), names, patterns, excluded)]

    def test_a_tests_name_names_it_alone(self) -> None:
        class Dots(unittest.TestCase):
            test_x = None

        for name in ("test_x_1", "test_x_1.5"):
            setattr(Dots, name, lambda self: None)
        tests = [Dots("test_x_1"), Dots("test_x_1.5")]
        for test in tests:
            self.assertEqual([test], select(tests, [test_name(test)], []))
            self.assertEqual([test], select(tests, [], [], [test_name(other) for other in tests if other is not test]))
        self.assertEqual(tests, select(tests, ["Dots"], []))

    def test_what_is_no_method_has_a_name_of_its_own(self) -> None:
        def documented() -> None:
            """
            >>> 1 + 1
            2
            """

        documented.__module__ = "__main__"
        (example,) = doctest.DocTestFinder().find(documented, "__main__.documented")
        tests = [doctest.DocTestCase(example), unittest.FunctionTestCase(documented), unittest.TestCase()]
        names = ["DocTestCase.documented", "FunctionTestCase.documented", "TestCase.runTest"]
        self.assertEqual(names, [test_name(test) for test in tests])
        self.assertEqual(tests[:1], select(tests, ["DocTestCase.documented"], []))

    def test_all_in_the_order_of_unittest(self) -> None:
        self.assertEqual(self.selected(), ["Apple.test_green", "Apple.test_red", "Outer.Pear.test_green"])

    def test_by_name(self) -> None:
        self.assertEqual(self.selected(["Apple.test_red"]), ["Apple.test_red"])
        self.assertEqual(
            self.selected(["Outer.Pear", "fruit.Apple.test_red"]), ["Apple.test_red", "Outer.Pear.test_green"]
        )
        self.assertEqual(self.selected(["Outer"]), ["Outer.Pear.test_green"])
        self.assertEqual(self.selected(["__main__.Apple"]), ["Apple.test_green", "Apple.test_red"])

    def test_by_pattern(self) -> None:
        self.assertEqual(self.selected(patterns=["green"]), ["Apple.test_green", "Outer.Pear.test_green"])
        self.assertEqual(self.selected(patterns=["fruit.App*red", "Pear"]), ["Apple.test_red", "Outer.Pear.test_green"])
        self.assertEqual(self.selected(["Apple"], ["green"]), ["Apple.test_green"])
        self.assertEqual(self.selected(patterns=["green*"]), [])
        self.assertEqual(self.selected(patterns=["green and not pear"]), ["Apple.test_green"])
        with self.assertRaises(UsageError):
            self.selected(patterns=["green and"])

    def test_what_is_excluded_is_left_out_of_what_is_chosen(self) -> None:
        self.assertEqual(self.selected(excluded=["Apple.test_red", "Outer"]), ["Apple.test_green"])
        self.assertEqual(self.selected(["Apple"], excluded=["fruit.Apple.test_green"]), ["Apple.test_red"])
        self.assertEqual(self.selected(patterns=["red"], excluded=["Apple"]), [])

    def test_unknown_names(self) -> None:
        with self.assertRaises(UsageError) as caught:
            self.selected(["Apple.test_rde", "Apple.test_green", "Zzz"], excluded=["App"])
        self.assertExpectedInline(
            str(caught.exception),
            """\
there is no test 'Apple.test_rde'; did you mean Apple.test_red, Apple.test_green?
there is no test 'Zzz'
there is no test 'App'; did you mean Apple?""",
        )


class SkipListTest(TestCase):
    def test_a_run_that_is_told_nothing_skips_nothing_and_a_broken_file_is_told(self) -> None:
        self.assertEqual({}, tests_to_skip(None, ["A.a"], "cpu"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "told.json"
            for text in (None, "{", "[1]", '[{"id": "x"}]', '[{"id": "", "expect": "skip", "devices": [], "why": ""}]'):
                if text is not None:
                    path.write_text(text)
                with self.assertRaisesRegex(UsageError, f"^cannot read which tests to skip from {path}: "):
                    tests_to_skip(path, ["A.a"], "cpu")


if __name__ == "__main__":
    run_tests()
