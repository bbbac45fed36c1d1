"""All reports of one run, through the real command; and `files`: reports that cannot be written."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import xmlschema

from torch_testing_shim._runner.report.files import ReportFiles
from torch_testing_shim._runner.report.json_lines import read_json_lines
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from report_samples import good_run
from runner_samples import RUN_TIMEOUT, RunnerTestCase, last_line

GOOD = "def test_good(self): pass"
MIXED = """
def test_fails(self):
    print("::error::forged")
    self.assertEqual(1, 2, "::error::forged\\n::error::forged, too")
def test_passes(self): pass
@unittest.skip("not today")
def test_skips(self): pass
"""
ALL = [
    "--report-html",
    "out/page.html",
    "--json-lines",
    "out/run.jsonl",
    "--trace",
    "out/trace.json",
    "--save-xml=out/xml",
]


class CommandTest(RunnerTestCase):
    def test_every_report_of_one_run(self) -> None:
        self.sample("test_good", GOOD)
        self.sample("folder/test_mixed", MIXED)
        result = self.run_test("--keep-going", "--shard", "1", "1", *ALL)
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        self.assertEqual("2 passed, 1 failed, 1 skipped", last_line(result.stdout))
        out = self.tree / "out"
        with (out / "run.jsonl").open() as lines:
            run = read_json_lines(lines)
        self.assertEqual("2 passed, 1 failed, 1 skipped", str(run.summary))
        self.assertEqual((1, (1, 1)), (run.facts.exit_status, run.facts.shard))
        self.assertIn("run_test.py --keep-going --shard 1 1", run.facts.command)
        page = (out / "page.html").read_text()
        self.assertIn("folder/test_mixed::SampleTest.test_fails", page)
        self.assertIn("not today", page)
        spans = [event["name"] for event in json.loads((out / "trace.json").read_text())["traceEvents"]]
        self.assertIn("SampleTest.test_passes", spans)
        reports = sorted((out / "xml").rglob("*.xml"))
        self.assertEqual(["TEST-folder.test_mixed.xml", "TEST-test_good.xml"], [path.name for path in reports])
        schema = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))
        for report in reports:
            schema.validate(str(report))
        self.assertEqual(5, sum(path.is_file() for path in out.rglob("*")))  # nothing unfinished lies about
        self.assertNothingLeft()

    def test_on_github(self) -> None:
        self.sample("test_mixed", MIXED)
        summary = self.tree / "summary.md"
        variables = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.tree), "GITHUB_STEP_SUMMARY": str(summary)}
        result = self.run_test(env=self.environment(**variables))
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        annotations = [line for line in result.stdout.splitlines() if line.startswith("::error ")]
        self.assertEqual(1, len(annotations))
        place = "file=test/test_mixed.py,line=9,title=test_mixed%3A%3ASampleTest.test_fails"
        self.assertTrue(annotations[0].startswith(f"::error {place}::failed: "), annotations[0])
        outside = re.sub(r"::stop-commands::(\w+)\n.*?\n::\1::\n", "", result.stdout, flags=re.DOTALL)
        expected = ["::group::test_mixed (1 of 1)", "::endgroup::", annotations[0], "1 passed, 1 failed, 1 skipped"]
        self.assertEqual(expected, outside.splitlines())
        self.assertIn("1 passed, 1 failed, 1 skipped", summary.read_text())

    def test_a_terminal_keeps_no_color(self) -> None:
        self.sample("test_mixed", MIXED)
        for variables in ({}, {"NO_COLOR": "1"}):
            shown = self.on_a_terminal(TERM="xterm", **variables)
            self.assertEqual("NO_COLOR" not in variables, "\x1b[31m" in shown, shown)
            self.assertIn("1 passed, 1 failed, 1 skipped", shown)
            self.assertIn("0/1 files", shown)

    def on_a_terminal(self, **variables: str) -> str:
        """The output of the runner on a terminal."""
        ours, its = pty.openpty()
        command = [sys.executable, str(self.tree / "run_test.py")]
        process = subprocess.Popen(command, cwd=self.tree, env=self.environment(**variables), stdout=its, stderr=its)
        os.close(its)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how Linux says that nobody writes to a terminal any more
            pass
        finally:
            os.close(ours)
            process.wait(RUN_TIMEOUT)
        return shown.decode()

    def test_a_report_that_cannot_be_written_is_told_before_the_run(self) -> None:
        self.sample("test_good", GOOD)
        (self.tree / "file").touch()
        for option in ("--report-html", "--json-lines", "--trace"):
            result = self.run_test(option, "file/below")
            self.assertEqual((2, ""), (result.returncode, result.stdout))
            expected = "run_test.py: error: cannot write the report 'file/below': Not a directory\n"
            self.assertEqual(expected, result.stderr)

    def test_a_stopped_run_has_its_reports(self) -> None:
        self.sample("test_a", "def test_a(self): open('started', 'w').close(); time.sleep(300)")
        process = self.start("--json-lines", "run.jsonl", "--report-html", "page.html")
        self.wait_until((self.tree / "started").exists, "the test started")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=RUN_TIMEOUT)
        with (self.tree / "run.jsonl").open() as lines:
            run = read_json_lines(lines)
        self.assertEqual((130, signal.SIGINT), (run.facts.exit_status, run.summary.stopped_by))
        (interrupted,) = run.summary.files[0].interrupted
        self.assertEqual("SampleTest.test_a", interrupted.test)
        self.assertIn("time.sleep(300)", interrupted.detail)
        self.assertIn("the run was stopped while it ran", (self.tree / "page.html").read_text())


class ReportFilesTest(RunnerTestCase):
    def test_what_an_earlier_run_left_is_gone_before_the_next(self) -> None:
        path = self.tree / "below" / "run.jsonl"
        path.parent.mkdir()
        path.write_text("of the run before")
        ReportFiles(json_lines=path).check()
        self.assertEqual([], list(path.parent.iterdir()))

    def test_a_folder_in_its_place(self) -> None:
        with self.assertRaisesRegex(UsageError, "cannot write the report '.*': it is a folder"):
            ReportFiles(trace=self.tree).check()

    def test_a_folder_that_goes_during_the_run_is_a_problem_of_each_report(self) -> None:
        folder = self.tree / "gone"
        files = ReportFiles(folder / "page.html", folder / "trace.json", folder / "run.jsonl")
        problems = files.write(good_run())
        self.assertEqual(3, len(problems))
        for problem in problems:
            self.assertRegex(problem, r"^the report '.*' could not be written: No such file or directory$")

    def test_on_a_full_disk_a_run_that_passed_fails(self) -> None:
        """The limit of a file's size stands for the full disk: either ends a write in an OSError."""
        self.sample("test_good", f"def test_good(self): pass\n{'# ' * 10}\n")
        result = subprocess.run(
            [sys.executable, str(self.tree / "run_test.py"), "--json-lines", "run.jsonl", "--report-html", "page.html"],
            cwd=self.tree,
            env=self.environment(PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        )
        self.assertEqual("1 passed, 0 failed, 0 skipped", last_line(result.stdout))
        self.assertIn("run_test.py: error: the report 'page.html' could not be written: File too large", result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.assertEqual(1, result.returncode)
        self.assertEqual([], list(self.tree.glob("page.html*")))


if __name__ == "__main__":
    run_tests()
