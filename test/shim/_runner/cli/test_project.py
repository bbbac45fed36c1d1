"""The folder of a project, the root of its tests, and the folder of its reports: real folders, some of them closed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.cli.project import find_project, paths_among, tree_of, with_writable_reports
from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

#: User id without any rights of its own.
NOBODY = 65534


class ProjectTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.tests = self.folder / "a" / "tests"
        self.tests.mkdir(parents=True)
        (self.tests / "test_x.py").touch()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def test_a_working_folder_that_is_gone(self) -> None:
        gone = self.folder / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        for find in (lambda: find_project([]), lambda: paths_among(["/"])):
            with self.assertRaisesRegex(UsageError, "the folder that you are in is not there any more"):
                find()

    def test_paths_are_told_from_names(self) -> None:
        found = paths_among(["test_x", "a/tests/test_x.py::A.test", "a", str(self.tests), "a/*"])
        self.assertEqual([self.tests / "test_x.py", self.folder / "a", self.tests], found)

    def test_the_nearest_project_is_that_of_the_paths_or_of_the_working_folder(self) -> None:
        self.assertEqual(self.tests, find_project([self.tests / "test_x.py"]))
        (self.folder / "pyproject.toml").touch()
        (self.folder / "a" / "pyproject.toml").touch()
        self.assertEqual(self.folder / "a", find_project([self.tests]))
        self.assertEqual(self.folder, find_project([self.tests, self.folder]))
        self.assertEqual(self.folder, find_project([]))

    def test_the_root_is_the_options_or_that_of_paths_outside_of_it(self) -> None:
        def root(options: Options, *paths: str, default: Path | None = None) -> Path:
            return tree_of(self.folder, options, [Path(path) for path in paths], default).tests

        chosen = Options(root=Path("a"))
        self.assertEqual(self.folder, root(Options()))
        self.assertEqual(self.folder / "test", root(Options(), default=self.folder / "test"))
        self.assertEqual(self.folder / "a", root(chosen, default=self.folder / "test"))
        self.assertEqual(self.folder / "a", root(chosen, "a/tests"))
        self.assertEqual(self.folder, root(chosen, "a/tests", "."))
        self.assertEqual(self.tests, root(Options(), "a/tests/test_x.py"))
        tree = tree_of(self.folder, Options(patterns=("x_*",), exclude_folders=("a",)), [])
        self.assertEqual((("x_*",), ("a",)), (tree.patterns, tree.excluded))

    def test_reports_that_cannot_be_written_go_elsewhere(self) -> None:
        tree = tree_of(self.folder, Options(), [self.tests])
        self.assertEqual((tree, []), with_writable_reports(tree, only_shows=False))
        tree.reports.touch()
        caches = self.folder / "caches"
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(caches)}):
            moved, (note,) = with_writable_reports(tree, only_shows=False)
            self.assertEqual((moved, []), with_writable_reports(tree, only_shows=True))
        self.assertEqual(caches / "torch_testing_shim" / "reports", moved.reports.parent)
        self.assertEqual(tree, replace(moved, reports=tree.reports))
        wanted = f"cannot write into '{tree.reports}': reports and recorded times are in '{moved.reports}'"
        self.assertEqual(wanted, note)
        self.assertFalse(caches.exists())

    def test_a_folder_of_another_user_cannot_be_written(self) -> None:
        tree = Tree(Path("."), Path("."), Path("test-reports"))  # from inside: another user may not come here
        self.folder.chmod(0o555)
        self.addCleanup(self.folder.chmod, 0o755)
        if os.geteuid() == 0:  # root may write anything, so look with the eyes of another user
            os.seteuid(NOBODY)
            self.addCleanup(os.seteuid, 0)
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": "/caches"}):
            moved, _ = with_writable_reports(tree, only_shows=True)
        self.assertTrue(moved.reports.is_relative_to("/caches"), moved.reports)


if __name__ == "__main__":
    run_tests()
