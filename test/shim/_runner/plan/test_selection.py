"""Selection: the files and tests that requests choose and leave out, together."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.request import Request, read_all, read_request
from torch_testing_shim._runner.plan.selection import (
    FileSelection,
    begin_at,
    bring_to_front,
    end_with,
    only_distributed,
    restrict,
    select,
)
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from request_samples import IN_ROOT, NAME_SETS, NAMES

#: Names of classes and of tests in them, few enough to meet often.
TESTS = st.sampled_from(["A", "B", "A.a", "A.b", "B.a", "B.b"])
TEST_LISTS = st.lists(TESTS, max_size=3)
ALL_TESTS = ("A.a", "A.b", "B.a", "B.b")


def selected(*include: str, exclude: tuple[str, ...] = ()) -> list[str]:
    """The names of the selected files, with the tests asked for after a blank and those left out after a minus."""
    files = select(NAMES, read_all(include, NAMES, IN_ROOT), read_all(exclude, NAMES, IN_ROOT))
    return [" ".join([file.name, *file.tests, *(f"-{test}" for test in file.excluded)]) for file in files]


def run_by(file: FileSelection | None) -> set[str]:
    """Which of `ALL_TESTS` a test file with these would run."""
    if file is None:
        return set()
    return {test for test in ALL_TESTS if is_in(test, file.tests or ("A", "B")) and not is_in(test, file.excluded)}


def is_in(test: str, names: tuple[str, ...] | list[str]) -> bool:
    return any(test == name or test.split(".")[0] == name for name in names)


class SelectionTest(TestCase):
    def test_nothing_asked_for_is_everything(self) -> None:
        self.assertEqual(list(NAMES), selected())

    def test_several_tests_of_a_file_run_in_one_process(self) -> None:
        self.assertEqual(["test_top A.a B.b"], selected("test_top::A.a", "test_top::B.b", "test_top::A::a"))

    def test_the_whole_file_wins_over_a_part_of_it(self) -> None:
        self.assertEqual(["test_top"], selected("test_top::A.a", "test_top"))
        self.assertEqual(["test_top"], selected("test_top", "test_top::A.a"))

    def test_the_order_typed_is_kept_and_a_second_mention_does_nothing(self) -> None:
        self.assertEqual(
            ["test_top", "shim/_shared/test_journal"], selected("test_top", "shim/_shared/test_journal", "test_top.py")
        )

    def test_what_is_excluded_does_not_run_however_it_was_included(self) -> None:
        self.assertEqual(["shim/_shared/test_journal", "test_top"], selected(exclude=("distributed",)))
        self.assertEqual([], selected("test_top::A.a", exclude=("test_t*",)))

    @given(NAME_SETS, st.sampled_from(["*", "*/*", "test_*", "x/*", "*b", "?"]))
    def test_include_and_exclude_of_one_glob_divide_the_names(self, names: list[str], glob: str) -> None:
        matching = [name for name in names if fnmatchcase(name, glob)]
        if not matching:
            return
        request = [read_request(glob, names, IN_ROOT)]
        included = [file.name for file in select(names, request, ())]
        excluded = [file.name for file in select(names, (), request)]
        self.assertEqual(matching, included)
        self.assertEqual(sorted(names), sorted(included + excluded))

    def test_a_part_of_a_file_is_excluded(self) -> None:
        self.assertEqual(["test_top -A.a -B"], selected("test_top", exclude=("test_top::A.a", "test_top::B")))
        self.assertEqual(["test_top A -A.a"], selected("test_top::A", exclude=("test_top::A::a", "test_top::B")))
        self.assertEqual(["test_top B.b"], selected("test_top::A.a", "test_top::B.b", exclude=("test_top::A",)))
        self.assertEqual([], selected("test_top::A.a", exclude=("test_top::A.a",)))

    def test_a_part_excluded_by_a_glob_is_excluded_in_each_file(self) -> None:
        expected = [f"{name} -A" for name in NAMES[:2]] + list(NAMES[2:])
        self.assertEqual(expected, selected(exclude=("distributed/checkpoint/*::A",)))

    @given(TEST_LISTS, TEST_LISTS, TEST_LISTS)
    def test_what_runs_is_what_was_included_less_what_was_excluded(
        self, include: list[str], exclude: list[str], failed: list[str]
    ) -> None:
        requests = [
            [read_request(f"test_top::{test}", NAMES, IN_ROOT) for test in tests] for tests in (include, exclude)
        ]
        files = select(["test_top"], *requests)
        chosen = {test for test in ALL_TESTS if is_in(test, include or ["A", "B"]) and not is_in(test, exclude)}
        self.assertEqual(chosen, run_by(files[0]) if files else set())
        self.assertEqual(chosen, {test for test in ALL_TESTS if files and files[0].has(test)})
        both = restrict(files, {"test_top": failed})
        expected = {test for test in chosen if is_in(test, failed or ["A", "B"])}
        self.assertEqual(expected, run_by(both[0]) if both else set())

    def test_a_restriction_leaves_out_the_files_that_it_does_not_name(self) -> None:
        files = (FileSelection("x"), FileSelection("y"), FileSelection("z", ("A",)))
        both = restrict(files, {"x": (), "z": ("A.a", "B.b"), "gone": ()})
        self.assertEqual((FileSelection("x"), FileSelection("z", ("A.a",))), both)

    def test_distributed_files_are_those_below_the_folder_of_that_name(self) -> None:
        files = tuple(FileSelection(name) for name in ("distributed/test_x", "distributed_more/test_x", "test_x"))
        self.assertEqual(files[:1], only_distributed(files, wanted=True))
        self.assertEqual(files[1:], only_distributed(files, wanted=False))


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
