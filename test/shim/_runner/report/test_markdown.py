"""The summary of a job: what it says, and that nothing of a test is Markdown in it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.report.markdown import append_step_summary, markdown_of
from torch_testing_shim._shared.settings import GitHubActions
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import good_run, hostile_run, sample_run


class MarkdownTest(TestCase):
    def test_a_run(self) -> None:
        text = markdown_of([sample_run()])
        self.assertIn("### shard 1 of 2&#58; 16 passed, 4 failed, 1 skipped", text)
        self.assertIn("| failed | distributed/test&#95;state&#58;&#58;State.test&#95;loaded | rank 2 failed&#58;", text)
        self.assertIn("| interrupted | shim/test&#95;stopped&#58;&#58;S.test&#95;long |", text)
        self.assertIn(
            "| distributed/test&#95;state&#58;&#58;State.test&#95;once | rank 1 died&#58; killed by SIGSEGV |", text
        )
        self.assertIn("| shared&#58; 4 ranks on 1 x | 2 |", text)
        self.assertIn("not run: shim/test&#95;zebra", text)

    def test_several_runs_and_what_is_missing(self) -> None:
        text = markdown_of([sample_run(), good_run()], ["the report of shard 2 of 2 is missing"])
        self.assertIn("### 2 runs&#58; 28 passed, 4 failed, 1 skipped", text)
        self.assertIn("- **the report of shard 2 of 2 is missing**", text)

    @given(st.text())
    def test_nothing_that_a_test_says_is_markdown(self, text: str) -> None:
        plain = markdown_of([hostile_run("x")])
        hostile = markdown_of([hostile_run(text)])
        self.assertEqual(plain.count("|"), hostile.count("|"))
        self.assertEqual(plain.count("<"), hostile.count("<"))
        self.assertEqual(len(plain.split("\n")), len(hostile.split("\n")))

    def test_it_is_added_to_the_summary_of_the_job(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "summary")
            path.write_text("from the step before\n")
            self.assertEqual([], append_step_summary(GitHubActions(step_summary=str(path)), "added\n"))
            self.assertEqual("from the step before\nadded\n", path.read_text())
            (note,) = append_step_summary(GitHubActions(step_summary=folder), "lost")
            self.assertRegex(note, "could not be written to '.*': Is a directory")
        self.assertEqual([], append_step_summary(GitHubActions(), "nowhere"))


if __name__ == "__main__":
    run_tests()
