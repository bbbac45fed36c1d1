"""The console script in real folders: without a project, with one, with a wrong one, and without its libraries."""

from __future__ import annotations

import configparser
import importlib
import os
import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import ROOT, RUN_TIMEOUT, SAMPLE, RunnerTestCase, last_line

#: The script that pip makes of the entry point.
SCRIPT = "import sys; from torch_testing_shim._runner.cli.console import main; sys.exit(main())"
PASS = "    def test_a(self): pass"
FAIL = "    def test_a(self): self.fail('as it is to')"
ONE_PASSES, ONE_FAILS = "1 passed, 0 failed, 0 skipped", "0 passed, 1 failed, 0 skipped"


class ConsoleTestCase(RunnerTestCase):
    """folder: the folder that commands run in, outside of the sample tree."""

    folder: Path

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.tree.parent / "somewhere"
        self.folder.mkdir()

    def put(self, path: str, body: str = PASS) -> None:
        """Write a test file below the folder."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(SAMPLE.format(body=body))

    def table(self, *lines: str) -> None:
        (self.folder / "pyproject.toml").write_text("\n".join(["[tool.torch_testing_shim]", *lines, ""]))

    def call(self, *arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            cwd=cwd or self.folder,
            env=self.environment(**environ),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )

    def refusal(self, *arguments: str, **environ: str) -> str:
        """The message of a command that does nothing."""
        done = self.call(*arguments, **environ)
        self.assertEqual((2, ""), (done.returncode, done.stdout), done.stderr)
        return done.stderr.replace(str(self.folder), "HERE")

    def names(self, *arguments: str, cwd: Path | None = None) -> list[str]:
        done = self.call("list", *arguments, cwd=cwd)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        return done.stdout.split()


class Refusals(ConsoleTestCase):
    def test_a_command_that_is_none(self) -> None:
        self.assertTrue(self.refusal().startswith("torch-testing-shim: error: say what to do\n\nusage: "))
        self.assertIn("error: there is no command 'tests'\n", self.refusal("tests"))
        self.assertIn("torch-testing-shim run: error: unrecognized arguments: --bogus", self.refusal("run", "--bogus"))
        self.assertIn("torch-testing-shim merge: error: the following", self.refusal("merge"))

    def test_names_and_folders_that_are_not_there(self) -> None:
        self.put("test_x.py")
        self.assertExpectedInline(
            self.refusal("run", "test_y"),
            """torch-testing-shim run: error: no test file is called 'test_y'; did you mean test_x?\n""",
        )
        self.table('root = "tests"')
        self.assertExpectedInline(
            self.refusal("run"),
            """torch-testing-shim run: error: there is no test folder at 'HERE/tests'\n""",
        )

    def test_without_the_libraries_of_the_runner_it_says_what_to_install(self) -> None:
        self.put("test_x.py")
        (self.tree / "rich.py").write_text("raise ModuleNotFoundError('gone', name='rich')")
        how = "pip install 'torch-testing-shim[runner]'\n"
        self.assertEqual(f"torch-testing-shim run: error: running tests needs rich: {how}", self.refusal("run"))
        self.assertEqual(["test_x"], self.names())
        for name in ("tomllib", "tomlkit"):  # Python 3.10 has no tomllib
            (self.tree / f"{name}.py").write_text(f"raise ModuleNotFoundError('gone', name={name!r})")
        self.table("jobs = 1")
        self.assertEqual(
            f"torch-testing-shim run: error: reading pyproject.toml needs tomlkit: {how}", self.refusal("run")
        )


class AnywhereTest(ConsoleTestCase):
    def test_a_folder_with_one_test_file_and_no_project(self) -> None:
        self.put("test_x.py")
        done = self.call("run")
        self.assertEqual((0, ONE_PASSES, ""), (done.returncode, last_line(done.stdout), done.stderr))
        self.put("test_x.py", FAIL)
        elsewhere = self.call("run", str(self.folder / "test_x.py"), cwd=self.scratch)
        self.assertEqual((1, ONE_FAILS), (elsewhere.returncode, last_line(elsewhere.stdout)), elsewhere.stderr)
        self.assertEqual({"test_x.py", "test-reports"}, set(os.listdir(self.folder)) - {"__pycache__"})
        self.assertNothingLeft()

    def test_paths_say_where_tests_are(self) -> None:
        for path in ("tests/unit/test_x.py", "tests/test_y.py", "other/test_z.py", ".hidden/test_h.py"):
            self.put(path)
        (self.folder / "env").mkdir()
        (self.folder / "env" / "pyvenv.cfg").touch()
        self.put("env/lib/test_of_a_library.py")
        self.assertEqual(["other/test_z", "tests/test_y", "tests/unit/test_x"], self.names())
        self.assertEqual(["test_y", "unit/test_x"], self.names("tests"))
        self.assertEqual(["unit/test_x"], self.names("tests/unit", "tests", "-x", "test_y"))
        self.assertEqual(["tests/test_y"], self.names("tests/test_y.py", "other", "-x", "other/*"))
        self.assertEqual(["test_y"], self.names("--root", "tests", "test_y"))

    def test_the_nearest_project_says_it_and_paths_outside_its_root_win(self) -> None:
        for path in ("tests/unit/test_x.py", "tests/old/test_y.py", "tests/check_z.py", "other/test_o.py"):
            self.put(path)
        self.table('root = "tests"', 'patterns = ["test_*.py", "check_*"]', 'exclude-folders = ["old/"]')
        everything = ["check_z", "unit/test_x"]
        self.assertEqual(everything, self.names())
        self.assertEqual(everything, self.names(cwd=self.folder / "tests" / "unit"))
        self.assertEqual(["unit/test_x"], self.names("tests/unit"))
        self.assertEqual(["check_z"], self.names("check_z"))
        self.assertEqual(["test_o"], self.names("other"))

    def test_the_table_says_how_to_run_and_the_command_line_wins(self) -> None:
        self.put("tests/test_a.py", FAIL)
        self.put("tests/test_b.py")
        self.table('root = "tests"', "keep-going = true", 'write-failed = "failed.txt"', "retries = 1")
        done = self.call("run", cwd=self.folder / "tests")
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), (done.returncode, last_line(done.stdout)), done.stderr)
        self.assertEqual("test_a::SampleTest.test_a\n", (self.folder / "failed.txt").read_text())
        told = self.call("run", "--no-keep-going", "--write-failed", "other.txt", "--retries", "0")
        self.assertEqual((1, ONE_FAILS), (told.returncode, last_line(told.stdout)))
        self.assertTrue((self.folder / "other.txt").exists())

    def test_merged_reports_have_one_verdict(self) -> None:
        self.put("test_a.py")
        self.put("test_b.py", FAIL)
        self.call("run", "--shard", "1", "2", "--json-lines", "reports/1.jsonl")
        self.call("run", "--shard", "2", "2", "--json-lines", "reports/2.jsonl")
        done = self.call("merge", "reports", "--report-html", "page.html")
        self.assertEqual((1, ""), (done.returncode, done.stderr), done.stdout)
        self.assertIn("test_b::SampleTest.test_a", done.stdout)
        self.assertIn("test_a", (self.folder / "page.html").read_text())


class ReportsTest(ConsoleTestCase):
    def test_where_they_cannot_be_written_it_says_where_they_are(self) -> None:
        self.put("test_x.py", FAIL)
        (self.folder / "test-reports").touch()
        caches = self.folder / "caches"
        done = self.call("run", "--save-xml", XDG_CACHE_HOME=str(caches))
        (reports,) = (caches / "torch_testing_shim" / "reports").iterdir()
        told = f"cannot write into '{self.folder}/test-reports': reports and recorded times are in '{reports}'"
        self.assertEqual((1, f"torch-testing-shim run: note: {told}\n"), (done.returncode, done.stderr))
        self.assertEqual({"last-failed.json", "times.json", "python-unittest"}, set(os.listdir(reports)))
        again = self.call("list", "--last-failed", XDG_CACHE_HOME=str(caches))
        self.assertEqual(("test_x\n", ""), (again.stdout, again.stderr))

        caches.rename(self.folder / "before")
        caches.touch()
        done = self.call("run", XDG_CACHE_HOME=str(caches))
        (reports,) = self.scratch.iterdir()
        self.assertIn(f"reports and recorded times are in '{reports}'\n", done.stderr)
        self.assertEqual({"last-failed.json", "times.json"}, set(os.listdir(reports)))


class Installed(ConsoleTestCase):
    def test_the_entry_point_is_the_function(self) -> None:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        name, _, target = config["options.entry_points"]["console_scripts"].strip().partition(" = ")
        module, _, function = target.partition(":")
        self.assertEqual("torch-testing-shim", name)
        self.assertTrue(callable(getattr(importlib.import_module(module), function)))

    def test_help(self) -> None:
        done = self.call("--help")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        for command in ("run", "list", "merge"):
            self.assertIn(f"torch-testing-shim {command} ", done.stdout)
            self.assertEqual(0, self.call(command, "--help").returncode)


if __name__ == "__main__":
    run_tests()
