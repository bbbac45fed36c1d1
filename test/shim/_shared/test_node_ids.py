"""Names of tests that parameters have put anything into: what a run prints as failed can be given back to every option
that takes a test's name."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.history.failed_tests import failed_lines, tests_by_file
from torch_testing_shim._runner.plan.request import Place, read_request
from torch_testing_shim._runner.plan.selection import select
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.expectation_ids import escaped, read_id
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.node_ids import (
    class_and_method,
    class_of,
    covers,
    dotted,
    is_line,
    is_name,
    node_id,
)
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given
from runner_samples import RunnerTestCase

VALUES = [
    *("cpu:gloo,cuda:nccl", "a/b", "[x]", "{a,b}", "x*", "a b", "plain", "t::u"),
    *("1", "::", "{", "-x", "ä→", "a\u2028b", "'$HOME", "?"),
]
WITH_DOTS = ["1.5", ".test_it"]
SAMPLE = f"""
import doctest
import sys
from torch_testing_shim.common_utils import TestCase, instantiate_parametrized_tests, parametrize, run_tests, subtest

class Ids(TestCase):
    @parametrize("b", [subtest((value,), name=value) for value in {VALUES!r}])
    def test_b(self, b):
        self.fail("always")

instantiate_parametrized_tests(Ids)
for value in {WITH_DOTS!r}:  # parametrize leaves no dots in names
    setattr(Ids, f"test_b_{{value}}", lambda self: self.fail("always"))

def documented():
    '''
    >>> 1 + 1
    3
    '''

def well_documented():
    '''
    >>> 1 + 1
    2
    '''

def load_tests(loader, tests, pattern):
    tests.addTests(doctest.DocTestSuite(sys.modules[__name__]))
    return tests

if __name__ == "__main__":
    run_tests()
"""
NAMES = [f"Ids.test_b_{value}" for value in (*VALUES, *WITH_DOTS)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("a.:[]{}*?,! ^-\\\\", max_size=12)
PLACE = Place("/repo/test", "/repo")


class OfPytest(TestCase):
    def test_names_there_and_back(self) -> None:
        for name, owner, method, node in (
            ("test_a", "", "test_a", "test_a"),
            ("test_a[1.5-x::y.test_z]", "", "test_a[1.5-x::y.test_z]", "test_a[1.5-x::y.test_z]"),
            ("A.B.test_a[b.c]", "A.B", "test_a[b.c]", "A::B::test_a[b.c]"),
            ("A.check_it[b.c]", "A", "check_it[b.c]", "A::check_it[b.c]"),
            ("A.test_b_1.5", "A", "test_b_1.5", "A::test_b_1.5"),
        ):
            with self.subTest(name):
                self.assertEqual((owner, method), class_and_method(name))
                self.assertEqual(f"f.py::{node}", node_id("f.py", name))
                self.assertTrue(is_name(dotted(node)))
                self.assertEqual(name, dotted(node))
        self.assertEqual("f.py::A::B", node_id("f.py", "A.B"))

    def test_a_function_covers_what_parameters_make_of_it(self) -> None:
        for name, test, expected in (
            ("test_a", "test_a[1]", True),
            ("test_a", "test_ab", False),
            ("A.test_a", "A.test_a[1.5]", True),
            ("A.test_a", "A.test_a.test_b", False),
            ("test_a[1]", "test_a[1]", True),
            ("testing", "testing.test_a", True),  # a class
        ):
            with self.subTest(name=name, test=test):
                self.assertEqual(expected, covers(name, test))


class GivenBack(RunnerTestCase):
    def failed(self, *arguments: str) -> list[str]:
        """The tests that a run says have failed, by its own list and by its output."""
        path = self.tree / "failed"
        result = self.run_test("--write-failed", str(path), *arguments)
        self.assertIn(result.returncode, (0, 1), result.stdout + result.stderr)
        shown = re.findall(r"(?m)^(?:FAILED|ERROR) +test_ids::(.*?)  ", result.stdout)
        listed = [line.removeprefix("test_ids::") for line in path.read_text().split("\n")[:-1]]
        self.assertEqual(len({*shown}), len({*listed}), result.stdout)
        return listed

    def test_every_option_takes_every_name(self) -> None:
        self.write("test_ids", SAMPLE)
        lines = ["Ids" if name.endswith("\u2028b") else name for name in NAMES]
        every = [*lines, "DocTestCase.documented"]
        self.assertEqual(sorted(every), sorted(self.failed()))

        excluded = [f"-x=test_ids::{name}" for name in NAMES if name != "Ids.test_b_1.5"]
        self.assertEqual(["DocTestCase.documented", "Ids.test_b_1.5"], sorted(self.failed(*excluded)))

        (self.tree / "list").write_text("".join(f"test_ids::{name}\n" for name in lines if name != "Ids"))
        self.assertEqual(sorted({*lines} - {"Ids"}), sorted(self.failed("--failed-from", str(self.tree / "list"))))

    def test_expectations_name_every_test(self) -> None:
        self.write("test_ids", SAMPLE)
        path = self.tree / "expected.toml"
        path.write_text("")
        result = self.run_test("--expectations", str(path), "--update-expectations")
        self.assertEqual(len(NAMES) + 1, path.read_text().count("[[test]]"), result.stdout + result.stderr)

        left_out = ("Ids.test_b_{", "Ids.test_b_?", "Ids.test_b_::")  # no glob, one of many, and an example
        as_they_stand = [name for name in NAMES if name not in left_out]
        entries = [f"[[test]]\nid = {json.dumps(f'test_ids::{name}')}\nexpect = 'skip'\n" for name in as_they_stand]
        path.write_text("\n".join(entries))
        self.assertEqual({*left_out, "DocTestCase.documented"}, {*self.failed("--expectations", str(path))})

    def test_disabled_tests_of_every_name(self) -> None:
        self.write("test_ids", SAMPLE)
        disabled = {f"{name.partition('.')[2]} (__main__.Ids)": ["an issue", []] for name in NAMES}
        (self.tree / "disabled.json").write_text(json.dumps(disabled))
        path = self.tree / "expected.toml"
        result = self.run_test("--import-disabled-tests", str(self.tree / "disabled.json"), str(path))
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertEqual(["DocTestCase.documented"], self.failed("--expectations", str(path)))


class Names(TestCase):
    def test_how_a_class_stands_before_its_test(self) -> None:
        for text, name, test_class in (
            ("A::test_b", "A.test_b", "A"),
            ("A.B::test_c", "A.B.test_c", "A.B"),
            ("A::B::test_c", "A.B.test_c", "A.B"),
            ("A.test_b::u", "A.test_b::u", "A"),
            ("A::test_b::test_u", "A.test_b::test_u", "A"),
            ("test_a::test_b", "test_a.test_b", "test_a"),
            ("A::B", "A.B", "A.B"),
            ("A", "A", "A"),
        ):
            self.assertEqual((name, test_class), (dotted(text), class_of(dotted(text))), text)

    def test_a_test_covers_itself_alone(self) -> None:
        self.assertTrue(covers("A.test_b", "A.test_b"))
        self.assertFalse(covers("A.test_b_1", "A.test_b_1.5"))
        self.assertTrue(covers("A", "A.test_b") and covers("A.B", "A.B.test_c") and covers("A", "A.B.test_c"))
        self.assertFalse(covers("A", "AB.test_c"))

    @given(TEXTS)
    def test_a_request_of_a_test_asks_for_it_alone(self, text: str) -> None:
        name = f"A.test_{text}"
        self.assertTrue(is_name(name))
        for spelling in (f"x::{name}", f"x.py::A::test_{text}", f"test/x.py::{name}"):
            request = read_request(spelling, ["x"], PLACE)
            self.assertEqual((("x",), name), (request.files, request.test))
            (file,) = select(["x"], [request], [])
            self.assertEqual((True, False), (file.has(name), file.has(f"{name}.1")))
            self.assertEqual((), select(["x"], [request], [request]))

    @given(TEXTS)
    def test_an_id_of_a_test_names_it_alone(self, text: str) -> None:
        name = f"A.test_{text}"
        pattern = read_id(f"x::{escaped(name)}")
        self.assertTrue(pattern.is_exact and pattern.covers_test(name) and name in pattern.exact_names)
        self.assertFalse(pattern.covers_test(f"{name}_") or pattern.covers_test(f"A.test__{text}"))

    @given(TEXTS)
    def test_a_line_of_a_failed_test_is_read_back(self, text: str) -> None:
        name = f"A.test_{text}"
        entry = JournalEntry(name, TestStatus.FAILED, 0.1)
        (line,) = failed_lines(RunSummary((FileResult(FileEnding("x", 1), (entry,)),)))
        (back,) = "\n".join([line, ""]).splitlines()
        self.assertEqual({"x": (name if is_line(name) else "A",)}, tests_by_file([back.strip()]))

    def test_a_name_that_no_command_can_hold_is_no_line(self) -> None:
        self.assertFalse(is_line("A.test_\0") or is_line("A.test_a\nb"))
        self.assertTrue(is_line("A.test_\x1b[31m"))


if __name__ == "__main__":
    run_tests()
