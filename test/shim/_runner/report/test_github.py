"""GitHub Actions: groups, annotations, and commands that nothing of a test can forge."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.report.github import (
    GitHubReport,
    command,
    failed_line,
    failure_annotation,
)
from torch_testing_shim._runner.result import Failure, RunSummary
from torch_testing_shim._shared.journal_reading import JournalNews
from torch_testing_shim._shared.settings import GitHubActions, read_github_actions
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import CRASHED, REPORT, STATE, hostile_run

TREE = Tree(Path("/repo"), Path("/repo/test"), Path("/repo/test/test-reports"))


def decoded(line: str) -> tuple[str, dict[str, str], str]:
    """A command as GitHub reads it: name, values, text."""
    match = re.fullmatch(r"::([^ :]+)(?: ([^\n]*?))?::([^\n\r]*)", line)
    assert match, line
    values = dict(pair.split("=", 1) for pair in (match[2] or "").split(",") if pair)
    escapes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

    def plain(text: str) -> str:
        return re.sub("%0D|%0A|%3A|%2C|%25", lambda found: escapes[found.group()], text)

    return match[1], {key: plain(value) for key, value in values.items()}, plain(match[3])


class CommandTest(TestCase):
    @given(st.text(), st.text(min_size=1))
    def test_github_reads_what_was_meant(self, text: str, title: str) -> None:
        self.assertEqual(
            ("error", {"title": title, "line": "3"}, text), decoded(command("error", text, title=title, line=3))
        )

    def test_the_form(self) -> None:
        self.assertEqual("::endgroup::", command("endgroup"))
        self.assertEqual(
            "::error file=a%2Cb.py,line=3::50%25%0A::x", command("error", "50%\n::x", file="a,b.py", line=3)
        )
        self.assertEqual("::error::text", command("error", "text", file="", line=None))


class FailedLineTest(TestCase):
    def test_the_innermost_line_of_the_first_traceback_in_the_file(self) -> None:
        """The controller's traceback comes first; where it does not pass through the file, the rank's counts."""
        self.assertEqual(41, failed_line(REPORT, "distributed/test_state"))
        self.assertEqual(14, failed_line(REPORT.replace("test_state.py", "elsewhere.py", 1), "distributed/test_state"))
        in_a_helper = """
        Traceback (most recent call last):
          File "/r/test/test_x.py", line 5, in test
          File "/r/lib.py", line 9, in helper
        """
        self.assertEqual(5, failed_line(in_a_helper, "test_x"))

    def test_stacks_of_hung_ranks_have_the_innermost_first(self) -> None:
        stacks = """
        Thread (most recent call first):
          File "t.py", line 1
          File "test_x.py", line 21 in a
          File "test_x.py", line 3
        """
        self.assertEqual(21, failed_line(stacks, "distributed/test_x"))

    def test_pytest_writes_it_otherwise(self) -> None:
        self.assertEqual(
            14, failed_line("    def test_a(self):\n>       assert 0\n\ntest/test_x.py:14: AssertionError", "test_x")
        )

    def test_another_file_of_a_similar_name_is_another_file(self) -> None:
        self.assertIsNone(failed_line('  File "/repo/test/my_test_x.py", line 3, in f', "test_x"))
        self.assertIsNone(failed_line('  File "/repo/other/test_x.py", line 3, in f', "distributed/test_x"))
        self.assertIsNone(failed_line("", "test_x"))

    def test_the_annotation(self) -> None:
        failure = Failure("distributed/test_state", "State.test_loaded", "failed", "rank 2 failed: 50% off", REPORT)
        values = {"file": "test/distributed/test_state.py", "line": "41", "title": failure.where}
        annotation = failure_annotation(failure, "test/distributed/test_state.py")
        self.assertEqual(("error", values, "failed: rank 2 failed: 50% off"), decoded(annotation))
        self.assertIn(
            "title=distributed/test_state%3A%3AState.test_loaded::failed: rank 2 failed: 50%25 off", annotation
        )


class GitHubReportTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stream = io.BytesIO()

    def report(self, tree: Tree = TREE, *, is_verbose: bool = False) -> GitHubReport:
        return GitHubReport(self.stream, GitHubActions(workspace="/repo"), tree, is_verbose=is_verbose)

    def shown(self) -> str:
        return re.sub(r"\b[0-9a-f]{32}\b", "TOKEN", self.stream.getvalue().decode())

    def test_files_that_lie_elsewhere(self) -> None:
        for tests, path in ((Path("/repo/pytorch"), "pytorch/shim/"), (Path("/other"), "/other/shim/")):
            self.report(dataclasses.replace(TREE, tests=tests)).file_ended(CRASHED)
            self.assertIn(f"::error file={path}test_crash.py,", self.shown())

    def test_a_run(self) -> None:
        with self.report() as report:
            report.run_started(["distributed/test_state", "shim/test_crash"])
            one, two = report.process_started("distributed/test_state"), report.process_started("shim/test_crash")
            two.on_output(b"not shown")
            two.on_journal(JournalNews(CRASHED.entries))
            one.on_journal(JournalNews(STATE.entries[3:]))
            report.process_ended(two)
            report.process_ended(one)
            report.file_ended(CRASHED)
        report.finished(RunSummary((CRASHED,)))
        self.assertExpectedInline(
            self.shown(),
            """\
::group::distributed/test_state (1 of 2)
::stop-commands::TOKEN
skipped  State.test_gpu  0.00s  needs at least 2 cuda, found 0
expected failure  State.test_known  0.30s
::TOKEN::
::endgroup::
::group::shim/test_crash (2 of 2)
::stop-commands::TOKEN
passed  A.test_quick  0.02s
::TOKEN::
::endgroup::
::stop-commands::TOKEN
shim/test_crash  1 passed, 3 failed  4.0s
::TOKEN::
::error file=test/shim/test_crash.py,title=shim/test_crash%3A%3AA.test_slow::crashed: the file's process ended with SIGSEGV
::error file=test/shim/test_crash.py,title=shim/test_crash::error: 1 line of its journal cannot be read: tests may be missing here
::stop-commands::TOKEN

CRASHED  shim/test_crash::A.test_slow  the file's process ended with SIGSEGV
last words
ERROR  shim/test_crash  1 line of its journal cannot be read: tests may be missing here
DID NOT RUN  shim/test_crash::A.test_later  the file's process ended with SIGSEGV before it
::TOKEN::
1 passed, 3 failed, 0 skipped
""",  # noqa: E501 - annotations are long
        )

    def test_verbose_groups_hold_what_the_file_prints(self) -> None:
        with self.report(is_verbose=True) as report:
            process = report.process_started("test_x")
            process.on_output(b"one \xff\n::add-mask::two")
            process.on_journal(JournalNews(STATE.entries))
            report.process_ended(process)
        expected = b"one \xff\n::add-mask::two\n"
        self.assertIn(expected, self.stream.getvalue())
        self.assertNotIn(b"State.test_saved", self.stream.getvalue())

    def test_notes_stand_with_their_test_and_marks_once(self) -> None:
        with self.report() as report:
            process = report.process_started("test_x")
            left = dataclasses.replace(CRASHED.entries[0], notes=("it left a thread",))
            process.on_journal(JournalNews((*STATE.entries[:2], left)))
            report.process_ended(process)
        notes = [line for line in self.shown().splitlines() if line.startswith("NOTE")]
        self.assertEqual(["NOTE  shared: 4 ranks on 1 x", "NOTE  test_x::A.test_quick  it left a thread"], notes)

    def test_a_flaky_test_is_a_warning(self) -> None:
        self.report().file_ended(dataclasses.replace(STATE, entries=STATE.entries[2:3], reruns=STATE.reruns[1:]))
        annotations = [line for line in self.shown().splitlines() if line.startswith("::warning")]
        self.assertEqual(1, len(annotations))
        self.assertIn("rank 1 died: killed by SIGSEGV", annotations[0])

    @given(
        st.sampled_from(["::error::x", "\n::error::x", "\r\n::set-output name=a::b\r", "##[error]x", "::endgroup::"])
    )
    def test_nothing_that_a_test_says_is_a_command(self, text: str) -> None:
        """GitHub takes no command between the two marks, so all that a test says has to lie there or be escaped."""
        self.stream = io.BytesIO()
        summary = hostile_run(text).summary
        with self.report() as report:
            process = report.process_started("test_hostile")
            process.on_journal(JournalNews(summary.files[0].entries))
            report.process_ended(process)
            report.file_ended(summary.files[0])
        report.finished(summary)
        is_stopped, ours = False, []
        for line in self.shown().splitlines():
            is_mark = line in ("::stop-commands::TOKEN", "::TOKEN::")
            is_stopped = line == "::stop-commands::TOKEN" if is_mark else is_stopped
            if not is_stopped and not is_mark:
                ours.append(line)
        self.assertEqual({"group", "endgroup", "error"}, {decoded(line)[0] for line in ours if line.startswith("::")})
        self.assertEqual([str(summary)], [line for line in ours if not line.startswith("::")])

    def test_the_environment_of_a_step(self) -> None:
        self.assertIsNone(read_github_actions({}))
        self.assertIsNone(read_github_actions({"GITHUB_ACTIONS": "false"}))
        environ = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/repo", "GITHUB_STEP_SUMMARY": "/summary"}
        self.assertEqual(GitHubActions("/repo", "/summary"), read_github_actions(environ))


if __name__ == "__main__":
    run_tests()
