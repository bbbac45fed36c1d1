"""A tree's folders, and which files of a real folder are test files and which cannot be one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from torch_testing_shim._runner.plan.tree import Tree, find_test_names
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

#: User id without any rights of its own.
NOBODY = 65534


class DiscoveryTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def touch(self, *paths: str) -> None:
        for path in paths:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).touch()

    def test_test_files_are_found_sorted_at_any_depth(self) -> None:
        self.touch("test_b.py", "a/test_z.py", "a/b/c/test_x.py")
        self.assertEqual(("a/b/c/test_x", "a/test_z", "test_b"), find_test_names(self.folder))

    def test_other_files_and_folders_are_passed_over(self) -> None:
        self.touch("conftest.py", "helper_test.py", "test_data.json", "test_c.pyc", "atest_d.py")
        self.touch("__pycache__/test_a.py", "a/test-reports/test_a.py", ".venv/lib/test_a.py")
        self.touch("env/pyvenv.cfg", "env/lib/test_a.py")
        self.assertEqual((), find_test_names(self.folder))

    def test_patterns_and_folders_as_the_project_has_them(self) -> None:
        self.touch(
            "test_a.py", "check_b.py", "b_test.py", "check_c.txt", "old/test_d.py", "a/old/test_e.py", "a/of/f_test.py"
        )
        self.assertEqual(("check_b", "test_a"), find_test_names(self.folder, ("check_*", "test_a.py"), ("a", "old")))
        self.assertEqual(("a/of/f_test", "b_test"), find_test_names(self.folder, ("*_test.py",)))
        self.assertEqual(("a/old/test_e", "test_a"), find_test_names(self.folder, excluded=("old/",)))
        self.assertEqual(("old/test_d", "test_a"), find_test_names(self.folder, excluded=("*/old",)))

    def test_a_folder_that_links_to_its_parent_is_not_followed(self) -> None:
        self.touch("a/test_x.py")
        (self.folder / "a" / "up").symlink_to(self.folder, target_is_directory=True)
        self.assertEqual(("a/test_x",), find_test_names(self.folder))

    def test_a_name_with_a_line_break_is_refused(self) -> None:
        self.touch("test_one\ntwo.py")
        with self.assertRaises(UsageError) as caught:
            find_test_names(self.folder)
        self.assertExpectedInline(
            str(caught.exception),
            """the test file 'test_one\\ntwo.py' has characters in its name that cannot be printed""",
        )

    def test_a_name_that_is_no_text_is_refused(self) -> None:
        with open(os.fsencode(self.folder) + b"/test_\xff.py", "wb"):
            pass
        with self.assertRaisesRegex(UsageError, "cannot be printed"):
            find_test_names(self.folder)

    def test_a_test_folder_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(UsageError, "there is no test folder at '.*/none'"):
            find_test_names(self.folder / "none")

    def test_a_folder_that_cannot_be_read(self) -> None:
        self.touch("closed/test_x.py")
        (self.folder / "closed").chmod(0)
        self.addCleanup((self.folder / "closed").chmod, 0o700)
        # from inside, since another user may not come here from the top
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        if os.geteuid() == 0:  # root may read anything, so look with the eyes of another user
            self.folder.chmod(0o755)
            os.seteuid(NOBODY)
            self.addCleanup(os.seteuid, 0)
        with self.assertRaisesRegex(UsageError, "cannot read the folder '.*closed': Permission denied"):
            find_test_names(Path("."))


class TreeTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def test_a_repository_puts_its_own_package_first(self) -> None:
        self.assertIsNone(Tree.of_repository(self.folder).package)
        (self.folder / "torch_testing_shim").mkdir()
        tests = self.folder / "test"
        self.assertEqual(Tree(self.folder, tests, tests / "test-reports", self.folder), Tree.of_repository(self.folder))

    def test_names_of_upstream_files_start_at_what_paths_have_in_common(self) -> None:
        for path in ("a/test_x.py", "a/b/test_y.py", "a/b/z_test.py", "a/b/test.py", "a/b/c_tests.py", "test_no.py"):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).touch()
        own = Tree.of_repository(self.folder)
        self.assertIs(own, own.with_upstream([]))
        paths = [str(self.folder / "a" / "test_x.py"), str(self.folder / "a" / "b")]
        tree = own.with_upstream(paths)
        self.assertEqual((self.folder / "a", own.reports), (tree.tests, tree.reports))
        self.assertEqual(("b/test_y", "b/z_test", "test_x"), tree.names)
        whole = [one.is_whole for one in (own, tree, own.with_upstream(paths[:1]), own.with_upstream(paths[1:]))]
        self.assertEqual([True, False, False, True], whole)
        with self.assertRaisesRegex(UsageError, "--upstream: there is no file or folder 'no such path'"):
            own.with_upstream(["no such path"])


if __name__ == "__main__":
    run_tests()
