"""Runs with expectations, by the real command: verdicts, reports that agree, updates, and what is wrong with a file."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import textwrap
from pathlib import Path

from junitparser import JUnitXml

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RunnerTestCase, last_line

TESTS = """
def test_known(self): raise RuntimeError("not implemented for 'BFloat16'")
def test_other(self): raise RuntimeError("something (else)")
def test_passes(self): pass
def test_crash(self): os.kill(os.getpid(), signal.SIGKILL)
def test_flaky(self):
    is_first = not os.path.exists("ran")
    open("ran", "w").close()
    self.assertFalse(is_first, "the first time")
def test_new(self): self.assertEqual(1, 2)
"""
EXPECTATIONS = """\
# Our list.

# not there yet
[[test]]
id = "test_x::SampleTest.test_known"
expect = "xfail"
reason = "no bfloat16"
issue = "https://issue/1"
when = { device = "cpu", torch = ">=2.6" }
error = "not implemented for 'BFloat16'"  # of gloo

[[test]]
id = "test_x::SampleTest::test_other"
expect = "xfail"
error = "not implemented"

# gone one day
[[test]]
id = "test_x::SampleTest.test_passes"
expect = "xfail"

# -- the rest --

[[test]]
id = "test_x::*.test_crash"
expect = "xfail"
error = "SIGKILL"
[[test]]
id = "test_x::SampleTest.test_flaky"
expect = "flaky"
[[test]]
id = "test_x::SampleTest.test_gone"
expect = "skip"
[[test]]
id = "test_x::SampleTest.test_new"
expect = "skip"
when.device = "npu"
"""
REAL = """
    import os
    from torch_testing_shim.common_distributed import MultiProcessTestCase
    from torch_testing_shim.common_utils import run_tests

    class Real(MultiProcessTestCase):
        world_size = 2

        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            open(os.path.join({folder!r}, "set up " + cls.__name__), "w").close()

        def setUp(self):
            super().setUp()
            self._spawn_processes()

        def test_dies(self):
            os._exit(3)

    class Skipped(Real):
        def test_dies(self):
            open(os.path.join({folder!r}, "started"), "w").close()

    if __name__ == "__main__":
        run_tests()
"""
REAL_EXPECTATIONS = """\
[[test]]
id = "test_*::Real.test_dies"
expect = "xfail"
error = 'rank \\d \\(pid \\d+\\) died: exit code 3'
[[test]]
id = "test_*::Skipped"
expect = "skip"
reason = "hangs the machine"
when.device = "cpu"
"""


#: Worth a warm interpreter, and parts: of its classes, one has a test whose process dies. `test_new` counts its runs.
PARTS = """
import os
from torch_testing_shim.common_utils import TestCase, run_tests

class First(TestCase):
    def test_a(self): pass
    def test_known(self): raise RuntimeError("not implemented")
    def test_new(self):
        open(f"run {len(os.listdir())}", "w").close()
        self.fail("new")

class Dies(TestCase):
    def test_a(self): pass
    def test_crash(self): os._exit(3)
    def test_passes(self): pass

if __name__ == "__main__":
    run_tests()
"""
PARTS_EXPECTATIONS = """
[[test]]
id = "test_x::First.test_known"
expect = "xfail"
error = "not implemented"
[[test]]
id = "test_x::Dies.test_crash"
expect = "xfail"
error = "exit status 3"
[[test]]
id = "test_x::Dies.test_passes"
expect = "xfail"
[[test]]
id = "test_x::Dies.test_gone"
expect = "xfail"
"""


class JudgedRunTest(RunnerTestCase):
    def expect(self, text: str) -> None:
        (self.tree / "e.toml").write_text(textwrap.dedent(text))

    def run_expecting(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run_test("--expectations", "e.toml", "--device", "cpu", *arguments)

    def failures(self, result: subprocess.CompletedProcess[str]) -> str:
        """The lines at the end, after the blank one that stands above them."""
        return result.stdout.rpartition("\n\n")[2].rstrip("\n")

    def test_a_run_is_strict_and_its_update_says_what_it_has_shown(self) -> None:
        self.sample("test_x", TESTS)
        self.expect(EXPECTATIONS)
        result = self.run_expecting("--json-lines", "out/run.jsonl", "--save-xml=xml", "--write-failed", "failed.txt")
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertExpectedInline(
            self.failures(result),
            """\
FAILED  test_x::SampleTest.test_new  1 != 2
ERROR  test_x::SampleTest.test_other  RuntimeError('something (else)'); expected was an error that matches 'not implemented'
UNEXPECTED SUCCESS  test_x::SampleTest.test_passes  the test passed, though it is expected to fail
FLAKY  test_x::SampleTest.test_flaky  passed when it was run again; at first: True is not false : the first time
UNMATCHED  e.toml: test_x::SampleTest.test_gone matches no test
3 passed, 3 failed, 0 skipped""",  # noqa: E501
        )
        self.assertNotIn("test_known", result.stdout)
        failed = [f"test_x::SampleTest.{name}" for name in ("test_new", "test_other", "test_passes")]
        self.assertEqual(failed, (self.tree / "failed.txt").read_text().split())
        self.assert_reports_agree(failed)
        self.update_and_run_again()

    def assert_reports_agree(self, failed: list[str]) -> None:
        records = [json.loads(line) for line in (self.tree / "out" / "run.jsonl").read_text().splitlines()]
        tests = {record["test"]: record for record in records if record["record"] == "test" and not record["attempt"]}
        known, crash = tests["SampleTest.test_known"], tests["SampleTest.test_crash"]
        self.assertEqual(["expected failure"] * 2, [known["result"], crash["result"]])
        self.assertTrue(known["reason"].startswith("no bfloat16 (https://issue/1): RuntimeError"), known["reason"])
        self.assertIn("SIGKILL", crash["reason"])
        cases = [case for suite in JUnitXml.fromfile(self.tree / "xml/test_x/TEST-test_x.xml") for case in suite]
        self.assertEqual((6, failed), (len(cases), sorted(f"test_x::SampleTest.{c.name}" for c in cases if c.result)))
        merged = self.run_test("--merge-reports", "out")
        self.assertEqual((1, "3 passed, 3 failed, 0 skipped"), (merged.returncode, last_line(merged.stdout)))
        self.assertIn("UNMATCHED  e.toml: test_x::SampleTest.test_gone matches no test\n", merged.stdout)

    def update_and_run_again(self) -> None:
        (self.tree / "ran").unlink()
        result = self.run_expecting("--update-expectations", "--keep-going", "--save-xml=xml")
        self.assertEqual((0, "6 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        changed = [line for line in result.stdout.splitlines() if line.startswith("e.toml: ")]
        self.assertExpectedInline(
            "\n".join(changed),
            """\
e.toml: changed the error of test_x::SampleTest::test_other to "RuntimeError\\\\('something \\\\(else\\\\)'\\\\)"
e.toml: removed test_x::SampleTest.test_passes: it passed
e.toml: removed test_x::SampleTest.test_gone: it matches no test
e.toml: added test_x::SampleTest.test_new: 1 != 2""",
        )
        text = (self.tree / "e.toml").read_text()
        kept = EXPECTATIONS[: EXPECTATIONS.index('error = "not implemented"\n')]
        self.assertTrue(text.startswith(kept), text)
        self.assertNotIn("# gone one day", text)
        self.assertIn('\n\n# -- the rest --\n\n[[test]]\nid = "test_x::*.test_crash"', text)
        self.assertRegex(text, r'when = \{device = "cpu"\}\nerror = \S1 != 2\S\n$')
        cases = [case for suite in JUnitXml.fromfile(self.tree / "xml/test_x/TEST-test_x.xml") for case in suite]
        self.assertEqual([], [case.name for case in cases if case.result])
        result = self.run_expecting()
        self.assertEqual((0, "6 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertNothingLeft()

    def test_entries_are_judged_only_where_the_run_could_have_matched_them(self) -> None:
        self.sample("test_x", "def test_a(self): pass\ndef test_b(self): pass")
        self.sample("test_y", "def test_a(self): pass")
        lines = [f'[[test]]\nid = "{id}"\nexpect = "skip"' for id in ("test_x::A.a", "test_y::A.a", "*::B.*", "test_z")]
        self.expect("\n".join([*lines, '[[test]]\nid = "test_x::A.npu"\nexpect = "skip"\nwhen.device = "npu"']))
        for arguments, unmatched in (
            ([], ["test_x::A.a", "test_y::A.a", "*::B.*", "test_z"]),
            (["test_x"], ["test_x::A.a"]),
            (["test_x::SampleTest.test_a"], []),
            (["-k", "test_a"], []),
            (["-x", "test_x::SampleTest.test_b"], ["test_y::A.a"]),
        ):
            result = self.run_expecting(*arguments)
            told = [line.split()[2] for line in result.stdout.splitlines() if line.startswith("UNMATCHED")]
            self.assertEqual((unmatched, bool(unmatched)), (told, result.returncode == 1), arguments)
        self.assertEqual("test_x\ntest_y\n", self.run_expecting("--list").stdout)

    def test_a_wrong_file_ends_in_a_sentence_before_anything_runs(self) -> None:
        self.sample("test_x", "def test_a(self): open('ran', 'w').close()")
        (self.tree / "failed.txt").write_text("test_y::A.a\n")
        for text, message in (
            (None, "cannot read the expectations 'e.toml': No such file or directory"),
            ("[[test]", "e.toml is no TOML file: "),
            (
                '[[test]]\nid = "x"\nexpect = "fails"',
                "e.toml: x: expect is 'fails', and has to be xfail, skip or flaky",
            ),
            (
                'test = [{id = "x", expect = "skip"}]',
                "e.toml cannot be updated: each entry has to stand under a [[test]]",
            ),
        ):
            if text is not None:
                self.expect(text)
            is_update = ["--update-expectations"] if text is not None else []
            result = self.run_expecting("--write-failed", "failed.txt", *is_update)
            self.assertEqual((2, ""), (result.returncode, result.stdout), text)
            self.assertTrue(result.stderr.startswith(f"run_test.py: error: {message}"), result.stderr)
            self.assertEqual(1, len(result.stderr.splitlines()))
        self.assertFalse((self.tree / "ran").exists())
        self.assertEqual("test_y::A.a\n", (self.tree / "failed.txt").read_text())

    def test_an_update_makes_the_first_file_and_a_stopped_run_leaves_it_alone(self) -> None:
        self.sample(
            "test_x",
            "def test_a(self): self.fail('why')\ndef test_b(self): print('b runs', flush=True); time.sleep(300)",
        )
        process = self.start("--expectations", "e.toml", "--update-expectations", "-v")
        assert process.stdout is not None
        for line in process.stdout:
            if "b runs" in line:
                break
        process.terminate()
        output, _ = process.communicate(timeout=60)
        self.assertIn("e.toml was not updated: the run was stopped\n", output)
        self.assertFalse((self.tree / "e.toml").exists())
        result = self.run_expecting("--update-expectations", "-k", "test_a")
        self.assertEqual((0, "1 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertIn('id = "test_x::SampleTest.test_a"\n', (self.tree / "e.toml").read_text())

    def test_parts_and_retries_come_to_the_same_verdicts(self) -> None:
        self.write("test_x", PARTS)
        self.expect(PARTS_EXPECTATIONS)
        tests = {name: {"seconds": 50.0, "at": 1.0, "ranks": 1} for name in ("First.test_a", "Dies.test_a")}
        times = {"version": 1, "files": {"test_x": {"seconds": 100.0, "at": 1.0, "tests": tests}}}
        (self.tree / "times.json").write_text(json.dumps(times))
        result = self.run_expecting("--keep-going", "-v", "-j2", "--times", "times.json", "--retries", "2")
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)
        self.assertIn("part 2 of 2", result.stdout)
        *failures, last = self.failures(result).splitlines()
        self.assertEqual("4 passed, 2 failed, 0 skipped", last)
        self.assertEqual(
            [
                "FAILED  test_x::First.test_new  AssertionError: new",
                "UNEXPECTED SUCCESS  test_x::Dies.test_passes  the test passed, though it is expected to fail",
                "UNMATCHED  e.toml: test_x::Dies.test_gone matches no test",
            ],
            sorted(failures),
        )
        self.assertEqual(3, len([path for path in self.tree.iterdir() if path.name.startswith("run ")]))
        self.assertNothingLeft()

    def test_every_report_has_what_matches_no_test(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        self.expect('[[test]]\nid = "test_x::SampleTest.test_<gone>"\nexpect = "skip"\n')
        summary = self.tree / "summary.md"
        actions = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        result = self.run_test(
            *("--expectations", "e.toml", "--report-html", "page.html"), env=self.environment(**actions)
        )
        self.assertEqual((1, "1 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        sentence = "e.toml: test_x::SampleTest.test_<gone> matches no test"
        self.assertIn(f"UNMATCHED  {sentence}\n", result.stdout)
        self.assertIn(html.escape(sentence), (self.tree / "page.html").read_text())
        self.assertRegex(summary.read_text(), r"(?m)^- \*\*.*gone.* matches no test\*\*$")

    def test_real_ranks_warm_and_by_upstreams_names(self) -> None:
        for name in ("test_x", "test_y"):
            self.write(name, REAL.format(folder=str(self.tree)))
        self.expect(REAL_EXPECTATIONS)
        for ways in ([], ["--upstream", "test"]):
            result = self.run_expecting("--why-skipped", *ways)
            output = result.stdout + result.stderr
            self.assertEqual(
                (0, "2 passed, 0 failed, 2 skipped"), (result.returncode, last_line(result.stdout)), output
            )
            self.assertIn("SKIPPED  2  hangs the machine", result.stdout)
            made = {path.name for path in self.tree.iterdir()}
            self.assertTrue({"set up Real"} <= made and not made & {"started", "set up Skipped"}, made)
        self.assertNothingLeft()


if __name__ == "__main__":
    run_tests()
