"""The files that a command line chooses, and the time that takes: the real command on trees, mostly with --list."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase, last_line

PASS = "def test_a(self): pass"

#: Modules that --list may not load; torch may not be loaded by any run.
LOADED_MODULES = """
import runpy, sys
sys.argv = ["run_test.py", *sys.argv[1:]]
try:
    runpy.run_path("run_test.py", run_name="__main__")
except SystemExit as end:
    status = int(end.code)
print(status, [name for name in ("torch", "rich", "psutil", "junitparser", "unittest") if name in sys.modules])
"""


def children_seconds() -> float:
    """Processor time of all children so far, in seconds: what a command costs, however loaded the machine is."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class ChoiceTest(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("distributed/test_a", "distributed/deep/test_b", "test_c", "test_d"):
            self.sample(name, PASS)

    def listed(self, *arguments: str, **keywords: object) -> list[str]:
        result = self.run_test("--list", *arguments, **keywords)  # type: ignore[arg-type]
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        return result.stdout.splitlines()

    def test_list_prints_the_names_and_nothing_else(self) -> None:
        self.assertEqual(["distributed/deep/test_b", "distributed/test_a", "test_c", "test_d"], self.listed())

    def test_names_globs_paths_and_exclusions(self) -> None:
        self.assertEqual(["test_c"], self.listed("test_c.py"))
        self.assertEqual(["test_d", "test_c"], self.listed("test_d", "-i", "test_c"))
        self.assertEqual(["distributed/deep/test_b", "distributed/test_a"], self.listed("distributed/*"))
        self.assertEqual(["distributed/test_a"], self.listed("distributed", "-x", "distributed/deep/*"))
        self.assertEqual(["test_c"], self.listed(str(self.tree / "test" / "test_c.py")))
        self.assertEqual(["distributed/test_a"], self.listed("test_a.py", cwd=self.tree / "test" / "distributed"))

    def test_distributed_files_and_the_others(self) -> None:
        self.assertEqual(["distributed/deep/test_b", "distributed/test_a"], self.listed("--distributed-tests"))
        self.assertEqual(["test_c", "test_d"], self.listed("--exclude-distributed-tests"))
        self.assertEqual(["test_c"], self.listed("--exclude-distributed-tests", "distributed", "test_c"))

    def test_where_the_order_begins_and_ends_and_what_comes_first(self) -> None:
        everything = ["distributed/deep/test_b", "distributed/test_a", "test_c", "test_d"]
        self.assertEqual(everything[1:], self.listed("--first", "distributed/test_a"))
        self.assertEqual(everything[:3], self.listed("--last", "test/test_c.py"))
        self.assertEqual(["test_c"], self.listed("-f", "test_c", "-l", "test_c"))
        self.assertEqual(["test_d", "test_c", *everything[:2]], self.listed("--bring-to-front", "test_d", "test_c"))
        self.assertEqual(["test_c", "distributed/test_a"], self.listed("--bring-to-front", "test_c", "-i", "*_[ac]"))
        result = self.run_test("--list", "--first", "test_c", "--last", "distributed/*", "--bring-to-front", "test_x")
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertRegex(result.stderr, r"\Arun_test.py: error: no test file is called 'test_x'[^\n]*\n\Z")
        result = self.run_test("--list", "--first", "test_c", "--last", "distributed/*")
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        names = "distributed/deep/test_b and distributed/test_a"
        self.assertEqual(f"run_test.py: error: --last names {names}, which is not selected\n", result.stderr)

    def test_a_shard_keeps_the_order_that_was_asked_for(self) -> None:
        in_front = self.listed("--bring-to-front", "test_d")
        for index in ("1", "2"):
            part = self.listed("--bring-to-front", "test_d", "--shard", index, "2")
            self.assertEqual([name for name in in_front if name in part], part)

    def test_options_that_mean_nothing_here_are_noted_once_and_change_nothing(self) -> None:
        result = self.run_test("--list", "test_c", "--onnx", "--xdoctest-command", "all", "--onnx")
        self.assertEqual((0, "test_c\n"), (result.returncode, result.stdout))
        self.assertExpectedInline(
            result.stderr,
            """\
run_test.py: note: --onnx means nothing here and is ignored
run_test.py: note: --xdoctest-command means nothing here and is ignored
""",
        )

    def test_a_path_through_a_symbolic_link(self) -> None:
        link = self.tree.parent / "link"
        link.symlink_to(self.tree, target_is_directory=True)
        self.assertEqual(["test_c"], self.listed(str(link / "test" / "test_c.py")))

    def test_names_that_lead_out_or_break_lines(self) -> None:
        (self.tree / "test_outside.py").write_text("raise AssertionError('must never run')")
        for name in ("../test_outside", "distributed/../../test_outside.py", "test_c\n", "", "test_c::no name"):
            result = self.run_test(name)
            self.assertEqual((2, ""), (result.returncode, result.stdout), name)
            self.assertRegex(result.stderr, r"\Arun_test.py: error: [^\n]*\n\Z")
        for option in ("-x", "--first", "--last", "--bring-to-front"):
            result = self.run_test(option, "../test_outside\n")
            self.assertEqual((2, ""), (result.returncode, result.stdout), option)
            self.assertRegex(result.stderr, r"\Arun_test.py: error: [^\n]*\n\Z")

    def test_nothing_selected_is_nothing_ran(self) -> None:
        result = self.run_test("-x", "*")
        self.assertEqual((5, "0 passed, 0 failed, 0 skipped\n"), (result.returncode, result.stdout))

    def test_a_folder_that_was_removed_under_the_users_feet(self) -> None:
        command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} {self.tree}/run_test.py --list"
        result = subprocess.run(
            command,
            shell=True,
            cwd=self.tree,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertEqual("run_test.py: error: the folder that you are in is not there any more\n", result.stderr)

    def test_characters_that_the_output_has_no_way_to_write(self) -> None:
        result = self.run_test(
            "test_c", "--dry-run", "-k", "\udcff\N{SNOWMAN}", env=self.environment(PYTHONIOENCODING="ascii")
        )
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertIn(r"-k '\udcff\u2603'", result.stdout)

    def test_dry_run_prints_commands_that_run_when_pasted(self) -> None:
        result = self.run_test("test_c::SampleTest::test_a", "--dry-run", "-k", "a*", "--device", "cpu", "--", "-f")
        path = self.tree / "test" / "test_c.py"
        expected = f"TORCH_TESTING_SHIM_DEVICE=cpu {sys.executable} {path} SampleTest.test_a -k 'a*' -f\n"
        self.assertEqual((0, expected), (result.returncode, result.stdout))
        pasted = self.run_test("test_c::SampleTest::test_a", "--dry-run").stdout
        run = subprocess.run(pasted, shell=True, env=self.environment(TORCH_TESTING_SHIM_JOURNAL="/dev/null"))
        self.assertEqual(0, run.returncode)

    def test_a_reader_that_leaves_early_causes_no_traceback(self) -> None:
        for argument in ("--list", "--dry-run", "test_c"):
            read_end, write_end = os.pipe()
            os.close(read_end)
            with open(write_end, "wb") as closed_pipe:
                command = [sys.executable, "run_test.py", argument]
                result = subprocess.run(
                    command,
                    cwd=self.tree,
                    env=self.environment(),
                    stdout=closed_pipe,
                    stderr=subprocess.PIPE,
                    timeout=RUN_TIMEOUT,
                )
            self.assertEqual((141, b""), (result.returncode, result.stderr), argument)
        self.assertNothingLeft()

    def test_neither_list_nor_a_run_imports_torch(self) -> None:
        loaded = {}
        for arguments in (("--list",), ("test_c",)):
            result = subprocess.run(
                [sys.executable, "-c", LOADED_MODULES, *arguments],
                cwd=self.tree,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT,
            )
            loaded[arguments[0]] = last_line(result.stdout)
        expected = {"--list": "0 []", "test_c": "0 ['rich', 'psutil', 'junitparser']"}
        self.assertEqual(expected, loaded)

    def test_list_is_quick(self) -> None:
        for number in range(200):
            self.sample(f"many/test_{number}", PASS)
        times = []
        for _ in range(3):
            began = children_seconds()
            self.assertEqual(204, len(self.listed()))
            times.append(children_seconds() - began)
        self.assertLess(min(times), 0.3)


if __name__ == "__main__":
    run_tests()
