"""Each failure's report ends with one command, in results and in journals, and passes have none."""

from __future__ import annotations

import shlex
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.process.build_command import build_command
from torch_testing_shim._runner.process.command import own_interpreter
from torch_testing_shim._runner.process.rerun_line import RerunLines, rerun_line
from torch_testing_shim._runner.result import DID_NOT_RUN, Failure, FileEnding, FileResult
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.settings import Settings
from torch_testing_shim.common_utils import TestCase, run_tests

TREE = Tree.of_repository(Path("/repo"))
PYTHON = shlex.join(own_interpreter())
OPTIONS = Options(settings=Settings(world_size=3))
COMMAND = build_command(FileSelection("test x"), OPTIONS, TREE)
LINES = RerunLines(OPTIONS, TREE)


class Lines(TestCase):
    def assertLine(self, detail: str, *tests: str) -> None:
        heading, command = detail.splitlines()[-2:]
        self.assertEqual("To run this test again:", heading)
        self.assertEqual(" ".join([f"    WORLD_SIZE=3 {PYTHON} '/repo/test/test x.py'", *tests]), command)

    def setUp(self) -> None:
        super().setUp()
        environment = mock.patch.dict("os.environ", {}, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def test_the_environment_counts_where_the_command_does_not_say_otherwise(self) -> None:
        values = {"WORLD_SIZE": "8", "TORCH_TESTING_SHIM_SEED": "5", "TORCH_TESTING_SHIM_DEVICE": "cpu"}
        with mock.patch.dict("os.environ", values):
            self.assertEqual(
                f"TORCH_TESTING_SHIM_DEVICE=cpu TORCH_TESTING_SHIM_SEED=5 WORLD_SIZE=3 {PYTHON} '/repo/test/test x.py'",
                rerun_line(COMMAND),
            )

    def test_settings_that_cannot_be_read_are_left_out(self) -> None:
        with mock.patch.dict("os.environ", {"TORCH_TESTING_SHIM_SEED": "many"}):
            self.assertEqual(f"WORLD_SIZE=3 {PYTHON} '/repo/test/test x.py'", rerun_line(COMMAND))

    def test_failures_have_a_line_and_others_none(self) -> None:
        entries = (
            JournalEntry("A.passes", TestStatus.PASSED, 0.1),
            JournalEntry("A.fails", TestStatus.FAILED, 0.1, "why", "the report\n"),
            JournalEntry("A.setUpClass", TestStatus.ERROR, 0.1, "why"),
        )
        faults = (
            Failure("test x", "A.crashes", "crashed", "why", "the tail"),
            Failure("test x", "", "error", "why"),
            Failure("test x", "A.waits", DID_NOT_RUN, "why", "nothing"),
        )
        result = LINES.in_result(FileResult(FileEnding("test x", 1), entries, faults))
        passes, fails, fixture = (entry.detail for entry in result.entries)
        crashes, whole_file, waits = (fault.detail for fault in result.faults)
        self.assertEqual(("", "nothing"), (passes, waits))
        self.assertTrue(fails.startswith("the report\n\nTo run"))
        self.assertLine(fails, "A.fails")
        self.assertLine(fixture, "A")
        self.assertLine(crashes, "A.crashes")
        self.assertLine(whole_file)

    def test_a_report_that_has_its_line_keeps_it(self) -> None:
        said = "report\n\nTo run this test again:\n    mine\n"
        entry = JournalEntry("A.fails", TestStatus.FAILED, 0.1, "why", said)
        self.assertEqual(entry, LINES.in_entry(entry, "test x"))


if __name__ == "__main__":
    run_tests()
