"""From a selection to its command, argument for argument; and the one command that each failure's report ends with."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.process.build_command import RerunLines, build_command, rerun_line
from torch_testing_shim._runner.process.command import own_interpreter
from torch_testing_shim._runner.result import DID_NOT_RUN, Failure, FileEnding, FileResult
from torch_testing_shim._shared.device_map import parse_device_map
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.settings import Settings
from torch_testing_shim.common_utils import TestCase, run_tests

TREE = Tree.of_repository(Path("/repo"))
MAP = parse_device_map("cuda=cpu")
PYTHON = shlex.join(own_interpreter())
OPTIONS = Options(settings=Settings(world_size=3))
COMMAND = build_command(FileSelection("test x"), OPTIONS, TREE)
LINES = RerunLines(OPTIONS, TREE)


class BuildTest(TestCase):
    def test_a_plain_file(self) -> None:
        command = build_command(FileSelection("distributed/test_x"), Options(), TREE)
        self.assertEqual((sys.executable, "/repo/test/distributed/test_x.py"), command.words)
        self.assertEqual({}, command.assignments())

    def test_every_option_that_the_file_is_to_know(self) -> None:
        options = Options(keywords=("one", "t*o"), verbosity=1, showlocals=True, file_arguments=("--failfast",))
        command = build_command(FileSelection("test_x", ("A", "B"), ("A.a", "B.b")), options, TREE)
        self.assertExpectedInline(
            " ".join(command.words[1:]),
            """/repo/test/test_x.py A B --exclude-test A.a --exclude-test B.b -k one -k t*o -v --locals --failfast""",
        )

    def test_files_for_pytest(self) -> None:
        options = Options(keywords=("t*o",), verbosity=1, showlocals=True, file_arguments=("-x",), map_device=MAP)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "test_x.py").write_text("def test_a(): pass\n")
            tree = TREE.with_upstream([folder])
            command = build_command(FileSelection("test_x", ("A.B", "test_a[1.5]"), ("A.a",)), options, tree)
            self.assertExpectedInline(
                " ".join(command.words[1:]).replace(folder, "F"),
                """-m torch_testing_shim --map-device cuda=cpu --pytest F/test_x.py::A::B F/test_x.py::test_a[1.5] --exclude-test A.a --matching t*o -v --showlocals -x""",  # noqa: E501
            )
            whole = build_command(FileSelection("test_x"), replace(options, file_arguments=()), tree)
            self.assertEqual((f"{folder}/test_x.py", "--matching"), whole.words[6:8])
            self.assertEqual((*whole.words, "--collect-only"), whole.names_only.words)

    def test_what_ranks_have_to_know_goes_through_the_environment(self) -> None:
        settings = Settings(device="cpu", share_devices=True, world_size=2, seed=0, strict_leaks=True, show_output=True)
        options = Options(settings=settings)
        self.assertExpectedInline(
            str(build_command(FileSelection("test_x"), options, TREE)).partition(sys.executable)[0],
            """TORCH_TESTING_SHIM_DEVICE=cpu TORCH_TESTING_SHIM_SHARE_DEVICES=1 WORLD_SIZE=2 TORCH_TESTING_SHIM_SEED=0 TORCH_TESTING_SHIM_STRICT_LEAKS=1 TORCH_TESTING_SHIM_SHOW_OUTPUT=1 """,  # noqa: E501
        )

    def test_coverage_stands_before_the_path(self) -> None:
        command = build_command(FileSelection("test_x"), Options(coverage=True), TREE)
        self.assertEqual(("-m", "coverage", "run"), command.words[1:4])
        self.assertEqual("/repo/test/test_x.py", command.words[-1])

    def test_a_checkout_puts_its_own_package_first(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "torch_testing_shim").mkdir()
            command = build_command(FileSelection("test_x"), Options(), Tree.of_repository(Path(folder)))
            self.assertEqual({"PYTHONPATH": folder}, command.assignments())


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
