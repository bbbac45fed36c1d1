"""From a selection to its command, argument for argument."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.process.build_command import build_command
from torch_testing_shim._shared.device_map import parse_device_map
from torch_testing_shim._shared.settings import Settings
from torch_testing_shim.common_utils import TestCase, run_tests

TREE = Tree.of_repository(Path("/repo"))
MAP = parse_device_map("cuda=cpu")


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


if __name__ == "__main__":
    run_tests()
