"""Requests: what a user types, and the files and tests that it names."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.request import Place, Request, read_all, read_request
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from request_samples import IN_ROOT, NAME_SETS, NAMES


def named(text: str, *, place: Place = IN_ROOT) -> list[str]:
    """The names of the files that a text names, with the test behind each if it names one."""
    request = read_request(text, NAMES, place)
    return [f"{name}::{request.test}" if request.test else name for name in request.files]


class RequestTest(TestCase):
    def refusal(self, text: str) -> str:
        with self.assertRaises(UsageError) as caught:
            read_request(text, NAMES, IN_ROOT)
        return str(caught.exception)

    def test_a_name_with_and_without_its_ending(self) -> None:
        self.assertEqual(["distributed/test_store"], named("distributed/test_store"))
        self.assertEqual(["distributed/test_store"], named("distributed/test_store.py"))

    def test_a_path_from_the_folder_the_user_is_in(self) -> None:
        for text in (
            "test/distributed/test_store.py",
            "./test/distributed/test_store",
            "/repo/test/distributed/test_store.py",
        ):
            self.assertEqual(["distributed/test_store"], named(text), text)
        below = Place("/repo/test", "/repo/test/distributed/checkpoint")
        self.assertEqual(["distributed/test_store"], named("../test_store.py", place=below))
        self.assertEqual(["distributed/checkpoint/test_planner"], named("test_planner.py", place=below))

    def test_a_name_counts_before_a_path_of_the_same_spelling(self) -> None:
        request = read_request("test/test_a", ("test/test_a", "test_a"), IN_ROOT)
        self.assertEqual(("test/test_a",), request.files)

    def test_a_folder_is_all_that_lies_below_it(self) -> None:
        self.assertEqual(list(NAMES[:2]), named("distributed/checkpoint"))
        self.assertEqual(list(NAMES[:3]), named("test/distributed/"))
        self.assertEqual(list(NAMES), named("test"))

    def test_a_glob_matches_slashes_too(self) -> None:
        self.assertEqual(list(NAMES[:3]), named("distributed/*"))
        self.assertEqual(["distributed/test_store", "test_top"], named("*test_[st][to][orp]*"))

    def test_a_test_of_a_file_in_both_spellings(self) -> None:
        expected = ["test_top::ExampleTest.test_one"]
        self.assertEqual(expected, named("test_top::ExampleTest::test_one"))
        self.assertEqual(expected, named("test/test_top.py::ExampleTest.test_one"))
        self.assertEqual(["test_top::ExampleTest"], named("test_top::ExampleTest"))

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        self.assertExpectedInline(
            self.refusal("distributed/test_fsdp_optim_stat"),
            """no test file is called 'distributed/test_fsdp_optim_stat'; did you mean distributed/checkpoint/test_fsdp_optim_state?""",  # noqa: E501
        )
        self.assertExpectedInline(
            self.refusal("test_stor"),
            """no test file is called 'test_stor'; did you mean distributed/test_store or test_top?""",
        )

    def test_at_most_three_names_are_suggested(self) -> None:
        near = [f"test_store_{letter}" for letter in "abcd"]
        with self.assertRaises(UsageError) as caught:
            read_request("test_store_x", near, IN_ROOT)
        self.assertEqual(3, str(caught.exception).count("test_store_") - 1)

    def test_an_unknown_name_with_nothing_near_it(self) -> None:
        self.assertExpectedInline(self.refusal("zzz"), """no test file is called 'zzz'; --list shows the names""")

    def test_every_wrong_request_is_named_at_once(self) -> None:
        with self.assertRaises(UsageError) as caught:
            read_all(["zzz", "test_top", "a::b c", "yyy*"], NAMES, IN_ROOT)
        self.assertExpectedInline(
            str(caught.exception),
            """\
no test file is called 'zzz'; --list shows the names
cannot read 'a::b c': write FILE, FILE::Class or FILE::Class.test
no test file is called 'yyy*'; --list shows the names""",
        )

    def test_requests_are_read_in_the_order_typed(self) -> None:
        requests = read_all(["test_top::A.a", "distributed/test_store"], NAMES, IN_ROOT)
        self.assertEqual([Request(("test_top",), "A.a"), Request(("distributed/test_store",))], requests)

    def test_a_path_that_leaves_the_test_folder(self) -> None:
        self.assertExpectedInline(
            self.refusal("../secret/test_x.py"), """'../secret/test_x.py' lies outside the test folder '/repo/test'"""
        )
        self.assertExpectedInline(
            self.refusal("/etc/test_x"), """'/etc/test_x' lies outside the test folder '/repo/test'"""
        )

    def test_a_line_break_in_a_name_does_not_break_the_message(self) -> None:
        self.assertExpectedInline(
            self.refusal("test_top\nx"),
            """no test file is called 'test_top\\nx'; did you mean test_top or distributed/test_store?""",
        )

    def test_an_empty_name_and_empty_parts(self) -> None:
        for text in ("", "::A", "test_top::", "test_top::A::", "test_top::A..b"):
            self.assertIn("cannot read", self.refusal(text), text)

    @given(NAME_SETS)
    def test_every_name_names_itself(self, names: list[str]) -> None:
        for name in names:
            self.assertEqual(Request((name,)), read_request(name, names, IN_ROOT))

    @given(st.text(max_size=12))
    def test_any_text_names_something_or_is_refused(self, text: str) -> None:
        try:
            request = read_request(text, NAMES, IN_ROOT)
        except UsageError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertTrue(request.files)


if __name__ == "__main__":
    run_tests()
