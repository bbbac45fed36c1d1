"""`python -m torch_testing_shim.conformance`: the report of a run, and bad input, which leaves nothing."""

import io
import sys
import tempfile
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from unittest import mock

from torch_testing_shim._shared.settings import changed_environment
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.conformance import _named_storage
from torch_testing_shim.conformance._command import main
from torch_testing_shim.conformance._strategies import STRATEGIES

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleRun, SampleTestCase

MY_PACKAGE = """
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter


class MyWriter(FileSystemWriter):
    def write_data(self, plan, planner):
        if any("bias" in item.index.fqn for item in plan.items):
            raise OSError("disk full")
        return super().write_data(plan, planner)


class MyReader(FileSystemReader):
    pass


class Unbuildable(FileSystemWriter):
    def __init__(self, path):
        raise OSError("no bucket:\\nask for one")


class Ends(FileSystemWriter):
    def __init__(self, path):
        raise SystemExit(0)


def nothing(path):
    pass
"""
MINE = "my_package:MyWriter,MyReader"


class BadInputTest(TestCase):
    """Called in this process: each ends before a test is run."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.temporary = Path(folder.name), Path(folder.name) / "tmp"
        self.temporary.mkdir()
        (self.folder / "my_package.py").write_text(MY_PACKAGE)
        self.addCleanup(sys.modules.pop, "my_package", None)
        paths = mock.patch.object(sys, "path", [folder.name, *sys.path])
        paths.start()
        self.addCleanup(paths.stop)

    def refusal(self, *arguments: str) -> str:
        """Return what the command says of arguments that it refuses, and check that it leaves nothing."""
        stderr = io.StringIO()
        environment = changed_environment({"TMPDIR": str(self.temporary)})
        with environment, redirect_stderr(stderr), mock.patch.object(sys, "argv", ["conformance", *arguments]):
            self.assertEqual(2, main({}))
        self.assertEqual(1, stderr.getvalue().count("\n"))
        if self.temporary.exists():
            self.assertEqual([], list(self.temporary.iterdir()))
        return stderr.getvalue()

    def test_a_storage_that_is_not_named(self) -> None:
        self.assertIn("name a storage: python -m torch_testing_shim.conformance my_package:My", self.refusal())
        self.assertIn("'my_package' does not name a storage", self.refusal("my_package"))
        for text in ("a:B,1", "a::B,C", ":B,C", "a:B,", "a:B,C,D", ".a:B,C", "a.:B,C", "a/b:C,D", "class:B,C"):
            self.assertIn(f"{text!r} does not name a storage", self.refusal(text))

    def test_a_storage_that_cannot_be_imported(self) -> None:
        expected = "cannot import absent: ModuleNotFoundError: No module named 'absent'\n"
        self.assertEqual(expected, self.refusal("absent:A,B"))
        self.assertEqual("my_package has no Absent\n", self.refusal("my_package:Absent,MyReader"))
        (self.folder / "ends.py").write_text("raise SystemExit('no license')")
        self.assertEqual("cannot import ends: SystemExit: no license\n", self.refusal("ends:A,B"))

    def test_a_storage_that_cannot_be_built(self) -> None:
        expected = "cannot build my_package.Unbuildable from a path: OSError: no bucket: ask for one\n"
        self.assertEqual(expected, self.refusal("my_package:Unbuildable,MyReader"))
        self.assertIn("cannot build my_package.Ends from a path: SystemExit", self.refusal("my_package:Ends,MyReader"))

    def test_what_is_built_is_no_storage(self) -> None:
        expected = "my_package.MyReader makes no StorageWriter: it lacks finish, set_up_storage_writer, write_data\n"
        self.assertEqual(expected, self.refusal("my_package:MyReader,MyWriter"))
        expected = "my_package.nothing makes no StorageReader: it lacks prepare_global_plan, prepare_local_plan, "
        self.assertIn(expected, self.refusal("my_package:MyWriter,nothing"))

    def test_a_report_that_cannot_be_written(self) -> None:
        for path in ("absent/report.md", f"{__file__}/report.md"):
            self.assertIn(f"cannot write a report to {path}: its folder", self.refusal(MINE, "--report", path))
        self.assertIn("is a folder", self.refusal(MINE, "--report", str(self.folder)))

    def test_a_temporary_folder_that_is_missing(self) -> None:
        self.temporary.rmdir()
        self.assertIn(f"cannot make a folder in {self.temporary}: No such file", self.refusal(MINE))

    def test_a_strategy_that_is_not_known_or_that_this_torch_lacks(self) -> None:
        expected = "there is no strategy 'FSDP9'; there are replicated, DDP, FSDP1"
        self.assertIn(expected, self.refusal(MINE, "--strategy", "FSDP9"))
        lacking = tuple(replace(one, missing="torch 9 has none") if one.name == "TP" else one for one in STRATEGIES)
        with mock.patch.object(_named_storage, "STRATEGIES", lacking):  # there is no such torch here
            expected = "the strategy 'TP' cannot be had: torch 9 has none\n"
            self.assertEqual(expected, self.refusal(MINE, "--strategy", "TP"))


class CommandTest(SampleTestCase):
    def run_suite(self, *arguments: str) -> SampleRun:
        (self.folder / "my_package.py").write_text(MY_PACKAGE)
        run = self.run_command("-m", "torch_testing_shim.conformance", *arguments)
        self.assert_nothing_left()
        return run

    def test_a_table_goes_to_its_file(self) -> None:
        arguments = (MINE, "--table", "--strategy", "replicated", "--report", "table.md")
        run = self.run_suite(*arguments)
        self.assertEqual(1, run.exit_code, run.output)
        table = (self.folder / "table.md").read_text()
        self.assertIn("| replicated | Adam | refuses | refuses |", table)
        self.assertIn("4 -> 2: refuses: save: OSError: disk full", table)
        self.assertIn(f"`python -m torch_testing_shim.conformance {' '.join(arguments)}`", table)
        self.assertNotIn("To run this test again", run.output)

    def test_bad_input_ends_the_process_by_its_status(self) -> None:
        run = self.run_suite("absent:A,B")
        self.assertEqual((2, "cannot import absent: "), (run.exit_code, run.output[:22]))


if __name__ == "__main__":
    run_tests()
