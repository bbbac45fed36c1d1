"""Selection: what a user types, and the files and tests that it means."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from torch_testing_shim._runner.selection import FileSelection, Place, select
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

NAMES = (
    "distributed/checkpoint/test_fsdp_optim_state",
    "distributed/checkpoint/test_planner",
    "distributed/test_store",
    "shim/test_journal",
    "test_top",
)
IN_ROOT = Place(test_folder="/repo/test", working_folder="/repo")

PARTS = st.sampled_from(["test_a", "test_b", "x", "y"])
NAME_SETS = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), unique=True, min_size=1).map(sorted)


def selected(*include: str, exclude: tuple[str, ...] = (), place: Place = IN_ROOT) -> list[str]:
    """The names of the selected files, with the tests asked for after a blank."""
    return [" ".join([file.name, *file.tests]) for file in select(NAMES, include, exclude, place)]


class SelectionTest(TestCase):
    def refusal(self, *include: str, exclude: tuple[str, ...] = (), place: Place = IN_ROOT) -> str:
        with self.assertRaises(UsageError) as caught:
            selected(*include, exclude=exclude, place=place)
        return str(caught.exception)

    def test_nothing_asked_for_is_everything(self) -> None:
        self.assertEqual(list(NAMES), selected())

    def test_a_name_with_and_without_its_ending(self) -> None:
        self.assertEqual(["distributed/test_store"], selected("distributed/test_store"))
        self.assertEqual(["distributed/test_store"], selected("distributed/test_store.py"))

    def test_a_path_from_the_folder_the_user_is_in(self) -> None:
        for text in (
            "test/distributed/test_store.py",
            "./test/distributed/test_store",
            "/repo/test/distributed/test_store.py",
        ):
            self.assertEqual(["distributed/test_store"], selected(text), text)
        below = Place("/repo/test", "/repo/test/distributed/checkpoint")
        self.assertEqual(["distributed/test_store"], selected("../test_store.py", place=below))
        self.assertEqual(["distributed/checkpoint/test_planner"], selected("test_planner.py", place=below))

    def test_a_name_counts_before_a_path_of_the_same_spelling(self) -> None:
        names = ("test/test_a", "test_a")
        files = select(names, ["test/test_a"], (), Place("/repo/test", "/repo"))
        self.assertEqual((FileSelection("test/test_a"),), files)

    def test_a_folder_is_all_that_lies_below_it(self) -> None:
        self.assertEqual(list(NAMES[:2]), selected("distributed/checkpoint"))
        self.assertEqual(list(NAMES[:3]), selected("test/distributed/"))
        self.assertEqual(list(NAMES), selected("test"))

    def test_a_glob_matches_slashes_too(self) -> None:
        self.assertEqual(list(NAMES[:3]), selected("distributed/*"))
        self.assertEqual(
            ["distributed/test_store", "test_top"], selected("*test_[st]*o[rp]*", exclude=("distributed/c*",))
        )

    def test_a_test_of_a_file_in_both_spellings(self) -> None:
        expected = ["test_top ExampleTest.test_one"]
        self.assertEqual(expected, selected("test_top::ExampleTest::test_one"))
        self.assertEqual(expected, selected("test/test_top.py::ExampleTest.test_one"))
        self.assertEqual(["test_top ExampleTest"], selected("test_top::ExampleTest"))

    def test_several_tests_of_a_file_run_in_one_process(self) -> None:
        self.assertEqual(["test_top A.a B.b"], selected("test_top::A.a", "test_top::B.b", "test_top::A::a"))

    def test_the_whole_file_wins_over_a_part_of_it(self) -> None:
        self.assertEqual(["test_top"], selected("test_top::A.a", "test_top"))
        self.assertEqual(["test_top"], selected("test_top", "test_top::A.a"))

    def test_the_order_typed_is_kept_and_a_second_mention_does_nothing(self) -> None:
        self.assertEqual(["test_top", "shim/test_journal"], selected("test_top", "shim/test_journal", "test_top.py"))

    def test_what_is_excluded_does_not_run_however_it_was_included(self) -> None:
        self.assertEqual(["shim/test_journal", "test_top"], selected(exclude=("distributed",)))
        self.assertEqual([], selected("test_top::A.a", exclude=("test_t*",)))

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        self.assertExpectedInline(
            self.refusal("distributed/test_fsdp_optim_stat"),
            """no test file is called 'distributed/test_fsdp_optim_stat'; did you mean distributed/checkpoint/test_fsdp_optim_state?""",  # noqa: E501
        )
        self.assertExpectedInline(
            self.refusal("test_stor"),
            """no test file is called 'test_stor'; did you mean distributed/test_store or test_top?""",
        )

    def test_an_unknown_name_with_nothing_near_it(self) -> None:
        self.assertExpectedInline(self.refusal("zzz"), """no test file is called 'zzz'; --list shows the names""")

    def test_every_wrong_request_is_named_at_once(self) -> None:
        self.assertExpectedInline(
            self.refusal("zzz", "test_top", "a::b c", exclude=("yyy*",)),
            """\
no test file is called 'zzz'; --list shows the names
cannot read 'a::b c': write FILE, FILE::Class or FILE::Class.test
no test file is called 'yyy*'; --list shows the names""",
        )

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

    def test_a_part_of_a_file_cannot_be_excluded(self) -> None:
        self.assertIn("cannot exclude a part of a file: 'test_top::A'", self.refusal(exclude=("test_top::A",)))

    @given(NAME_SETS)
    def test_every_name_selects_itself(self, names: list[str]) -> None:
        for name in names:
            files = select(names, [name], (), IN_ROOT)
            self.assertEqual((FileSelection(name),), files)

    @given(NAME_SETS, st.sampled_from(["*", "*/*", "test_*", "x/*", "*b", "?"]))
    def test_include_and_exclude_of_one_glob_divide_the_names(self, names: list[str], glob: str) -> None:
        matching = [name for name in names if fnmatchcase(name, glob)]
        if not matching:
            return
        included = [file.name for file in select(names, [glob], (), IN_ROOT)]
        excluded = [file.name for file in select(names, (), [glob], IN_ROOT)]
        self.assertEqual(matching, included)
        self.assertEqual(sorted(names), sorted(included + excluded))

    @given(st.text(max_size=12))
    def test_any_text_selects_something_or_is_refused(self, text: str) -> None:
        try:
            files = select(NAMES, [text], (), IN_ROOT)
        except UsageError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertTrue(files)


if __name__ == "__main__":
    run_tests()
