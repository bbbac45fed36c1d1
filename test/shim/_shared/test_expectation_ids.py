"""Ids of tests in an expectations file: what they cover, and what is none."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared.expectation_ids import _plain, escaped, glob_as_regex, read_id
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given


class IdTest(TestCase):
    def test_each_spelling_covers_what_it_names(self) -> None:
        for text, covered, others in (
            ("a/test_x::A.b", ["A.b"], ["A.bc", "A", "A.b.c"]),
            ("a/test_x.py::A::b", ["A.b"], ["A.c"]),
            ("a/test_x::A", ["A.b", "A.c", "A.B.c", "A"], ["AB.c"]),
            ("a/test_x", ["A.b", "setUpModule"], []),
            ("a/test_*::*.b", ["A.b", "A.B.b"], ["A.c", "b"]),
            ("a/*::A.test_{a,b_[0-9]}", ["A.test_a", "A.test_b_7", "A.test_{a,b_[0-9]}"], ["A.test_b"]),
            ("a/test_x::A.b{,_cpu}{,_float32}", ["A.b", "A.b_cpu", "A.b_cpu_float32", "A.b_float32"], ["A.b_cuda"]),
            ("a/test_x::A.[!a]", ["A.b"], ["A.a"]),
        ):
            pattern = read_id(text)
            self.assertTrue(pattern.covers_file("a/test_x"), text)
            self.assertFalse(pattern.covers_file("b/test_x"), text)
            self.assertEqual(covered, [test for test in [*covered, *others] if pattern.covers_test(test)], text)

    def test_one_test_named_in_full_is_exact_and_nothing_else_is(self) -> None:
        exact = {
            text: read_id(text).is_exact for text in ("x::A.b", "x::A::b", "x::test_a", "x::A", "x", "x::A.*", "*::A.b")
        }
        self.assertEqual([True, True, True, False, False, False, False], list(exact.values()), exact)

    def test_what_is_no_id_is_told(self) -> None:
        for text in ("", "::A.b", "x::", "x::A::", " x", "x::A.{b", "x::A.b}", "x::}{", "x::A.[b-a]"):
            with self.assertRaises(ValueError, msg=text):
                read_id(text)

    @given(st.text("ab.*?_", max_size=8), st.text("ab._", max_size=8))
    def test_stars_and_marks_mean_what_they_mean_elsewhere(self, glob: str, text: str) -> None:
        self.assertEqual(fnmatchcase(text, glob), glob_as_regex(glob).fullmatch(text) is not None)

    @given(st.text("ab*?[]{},!^-. \t\n", min_size=1, max_size=6))
    def test_an_escaped_name_is_an_id_of_that_test_alone(self, name: str) -> None:
        glob = escaped(name)
        self.assertEqual(glob, glob.strip())
        self.assertIsNotNone(glob_as_regex(glob).fullmatch(name))
        self.assertEqual(name, _plain(glob))

    def test_only_what_has_a_meaning_is_escaped(self) -> None:
        self.assertEqual("A.b c],!^-", escaped("A.b c],!^-"))
        self.assertEqual("[ ]A[*][?][[][{]b[}][ ]", escaped(" A*?[{b} "))

    def test_the_tests_that_an_id_names_in_full(self) -> None:
        for text, names in (
            ("x::A.b", {"A.b"}),
            ("x::A.[*]", {"A.[*]", "A.*"}),
            ("x::A.[!a]", {"A.[!a]"}),
            ("x::A.[!]", {"A.[!]", "A.!"}),
            ("x::A.{b}", {"A.{b}"}),
            ("x::A.[ab]", {"A.[ab]"}),
            ("x", set()),
            ("x::A", set()),
            ("*::A.b", set()),
        ):
            self.assertEqual(frozenset(names), read_id(text).exact_names, text)


if __name__ == "__main__":
    run_tests()
