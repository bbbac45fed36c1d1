"""The repositories below `examples/` work for their owners: each is copied, and its tests run as its README says."""

import re
import shutil
import sys
import unittest
from pathlib import Path

from harness_samples import ROOT, SampleTestCase
from quartz_samples import InstalledQuartzTestCase
from test_project_files import check_workflow

import torch_testing_shim
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

#: Where the package under test lies: this checkout, or the environment that its wheel is installed in.
PACKAGE_FOLDER = Path(torch_testing_shim.__file__).parents[1]
CONSOLE = "import sys; from torch_testing_shim._runner.cli.console import main; sys.exit(main())"
SCRIPT = Path(sys.executable).with_name("torch-testing-shim")


class Example(SampleTestCase):
    """One example in a folder of its own; `pip install -e .` is an entry of the import path here."""

    name = ""
    #: Where the example's own modules are found: those of a command `-m` lie in the working folder.
    own_path: tuple[str, ...] = ()

    def setUp(self):
        super().setUp()
        shutil.copytree(ROOT / "examples" / self.name, self.folder, dirs_exist_ok=True)

    def environment(self, **extra):
        path = ":".join([*(str(self.folder / own) for own in self.own_path), str(PACKAGE_FOLDER)])
        return super().environment(**{"PYTHONPATH": path, **extra})

    def run_as_owner(self, *command):
        """Run a command of the README in the example's folder; nothing is left of it."""
        run = self.run_command(*command)
        self.assertEqual(0, run.exit_code, run.output)
        self.assert_nothing_left()
        return run


class UnittestSuite(Example):
    name = "unittest_suite"
    own_path = (".",)

    def test_by_file(self):
        run = self.run_as_owner("tests/test_average.py")
        self.assertEqual([TestStatus.PASSED] * 5, [entry.status for entry in run.entries.values()], run.output)

    @unittest.skipUnless(SCRIPT.exists(), "the console script is not installed")
    def test_by_console_script(self):
        run = self.run_as_owner(str(SCRIPT), "run", "tests")
        self.assertRegex(run.output, r"(?m)^8 passed, 0 failed, 0 skipped$")

    def test_workflow_is_valid_and_does_what_the_readme_says(self):
        path = self.folder / ".github" / "workflows" / "tests.yml"
        found = check_workflow(path)
        self.assertEqual(0, found.returncode, found.stdout + found.stderr)
        readme = (self.folder / "README.md").read_text()
        commands = re.findall(r"- run: (pip .*|torch-testing-shim run \S+)", path.read_text())
        self.assertEqual(2, len(commands))
        self.assertEqual([], [command for command in commands if command not in readme])


class CheckpointLibrary(Example):
    name = "checkpoint_library"

    def test_by_pytest(self):
        run = self.run_as_owner("-m", "pytest", "-p", "no:cacheprovider", "tests")
        self.assertRegex(run.output, r"\b8 passed\b")


class PytestFunctions(Example):
    name = "pytest_functions"
    command = (
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "torch_testing_shim.pytest_plugin",
        "--basetemp=made",
        "tests",
    )

    def test_by_pytest(self):
        run = self.run_as_owner(*self.command)
        self.assertRegex(run.output, r"\b6 passed\b")

    def test_the_mistake_of_the_readme_is_seen(self):
        library = self.folder / "contrastive" / "__init__.py"
        source = library.read_text()
        (mistake,) = re.findall("take `(.*)` out of", (self.folder / "README.md").read_text())
        self.assertIn(mistake, source)
        library.write_text(source.replace(mistake, "").replace("    rank = dist.get_rank()\n", ""))
        run = self.run_command(*self.command)
        self.assertRegex(run.output, r"\b2 failed, 4 passed\b")
        self.assertRegex(
            run.output, r"(?m)_loss_of_one_batch\[ranks=2\] _+\n\nrank 1 failed: AssertionError: Scalars are not close"
        )


class FromDeepSpeed(Example):
    name = "from_deepspeed"
    command = (*PytestFunctions.command[:-1], "before", "tests")

    def test_before_and_now(self):
        run = self.run_as_owner(*self.command)
        self.assertRegex(run.output, r"\b7 passed\b")

    def test_the_mistake_of_the_readme_is_seen(self):
        library = self.folder / "shards" / "__init__.py"
        (mistake,) = re.findall("take `(.*)` out of `gather`", (self.folder / "README.md").read_text())
        source = library.read_text()
        library.write_text(source.replace(f"torch.cat(parts){mistake}", "torch.cat(parts)"))
        self.assertNotEqual(source, library.read_text())
        run = self.run_command(*PytestFunctions.command)
        self.assertRegex(run.output, r"\b2 failed, 4 passed\b")
        self.assertRegex(run.output, r"(?m)^rank [01] failed: AssertionError: assert False$")


class OutOfTreeBackend(InstalledQuartzTestCase):
    """The device is the sample's, `sample_backend/`: simulated, on the host's memory."""

    def test_upstream_file_by_the_command_of_the_readme(self):
        example = ROOT / "examples" / "out_of_tree_backend"
        shutil.copytree(example, self.folder, dirs_exist_ok=True)
        (command,) = re.findall(r"(?m)^torch-testing-shim (run .*)$", (example / "README.md").read_text())
        run = self.run_command("-c", CONSOLE, *command.split())
        self.assertEqual(0, run.exit_code, run.output)
        self.assertRegex(run.output, r"(?m)^3 passed, 0 failed, 0 skipped$")
        self.assert_nothing_left()

    def test_workflow_is_valid_and_does_what_the_readme_says(self):
        example = ROOT / "examples" / "out_of_tree_backend"
        path = example / ".github" / "workflows" / "tests.yml"
        found = check_workflow(path)
        self.assertEqual(0, found.returncode, found.stdout + found.stderr)
        readme = (example / "README.md").read_text()
        (command,) = re.findall(r"(?m)- run: (torch-testing-shim run .*?)(?: --save-xml=\S+)?$", path.read_text())
        self.assertIn(f"\n{command}\n", readme)


if __name__ == "__main__":
    run_tests()
