"""The order of files: where it begins, where it ends, what comes first."""

from __future__ import annotations

from hypothesis import given, strategies as st

from torch_testing_shim._runner.plan.order import begin_at, bring_to_front, end_with
from torch_testing_shim._runner.plan.request import Request
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

FILES = tuple(FileSelection(name) for name in "abcde")


def names(files: tuple[FileSelection, ...]) -> str:
    return "".join(file.name for file in files)


class OrderTest(TestCase):
    def test_from_the_first_and_up_to_the_last_both_included(self) -> None:
        self.assertEqual("bcde", names(begin_at(FILES, Request(("b",)))))
        self.assertEqual("ab", names(end_with(FILES, Request(("b",)))))
        self.assertEqual("c", names(end_with(begin_at(FILES, Request(("c",))), Request(("c",)))))

    def test_a_request_of_several_files_begins_at_the_first_and_ends_with_the_last(self) -> None:
        self.assertEqual("bcde", names(begin_at(FILES, Request(("b", "d")))))
        self.assertEqual("abcd", names(end_with(FILES, Request(("b", "d")))))

    def test_a_file_that_is_not_selected_is_no_place_to_begin_or_end(self) -> None:
        with self.assertRaises(UsageError) as caught:
            begin_at(FILES, Request(("x", "y")))
        self.assertExpectedInline(str(caught.exception), """--first names x and y, which is not selected""")
        with self.assertRaises(UsageError) as caught:
            end_with(begin_at(FILES, Request(("c",))), Request(("b",)))
        self.assertExpectedInline(str(caught.exception), """--last names b, which is not selected""")

    @given(st.lists(st.sampled_from("abcdexyz"), unique=True))
    def test_what_is_brought_to_the_front_is_all_that_moves(self, front: list[str]) -> None:
        wanted = [name for name in front if name in "abcde"]
        self.assertEqual(
            [*wanted, *(name for name in "abcde" if name not in front)], [*names(bring_to_front(FILES, front))]
        )


if __name__ == "__main__":
    run_tests()
