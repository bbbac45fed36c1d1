"""The command of a test file: what a developer would type, argument for argument."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from torch_testing_shim._runner.command import FileCommand, build_command
from torch_testing_shim._runner.options import Options
from torch_testing_shim._runner.selection import FileSelection
from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path("/repo")


class CommandTest(TestCase):
    def test_a_plain_file(self) -> None:
        command = build_command(FileSelection("distributed/test_x"), Options(), ROOT)
        self.assertEqual((sys.executable, "/repo/test/distributed/test_x.py"), command.arguments)
        self.assertEqual({}, command.environment())

    def test_tests_patterns_verbosity_and_what_stood_after_the_dashes(self) -> None:
        options = Options(keywords=("one", "t*o"), verbosity=1, file_arguments=("--seed", "1"))
        command = build_command(FileSelection("test_x", ("A.a", "B")), options, ROOT)
        expected = ("/repo/test/test_x.py", "A.a", "B", "-k", "one", "-k", "t*o", "-v", "--seed", "1")
        self.assertEqual(expected, command.arguments[1:])

    def test_the_device_goes_through_the_environment(self) -> None:
        command = build_command(FileSelection("test_x"), Options(device="cpu"), ROOT)
        self.assertEqual({"TORCH_TESTING_SHIM_DEVICE": "cpu"}, command.environment())

    def test_a_checkout_puts_its_own_package_first(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "torch_testing_shim").mkdir()
            command = build_command(FileSelection("test_x"), Options(), Path(folder))
            self.assertEqual({"PYTHONPATH": folder}, command.environment())

    def test_a_command_reads_as_typed_in_a_shell(self) -> None:
        command = FileCommand("test_x", ("python", "/a b/test_x.py", "-k", "a*"), device="cpu", package_folder="/a b")
        self.assertExpectedInline(
            str(command),
            """TORCH_TESTING_SHIM_DEVICE=cpu PYTHONPATH='/a b' python '/a b/test_x.py' -k 'a*'""",
        )

    @given(st.lists(st.text(st.characters(exclude_characters="\0"))))
    def test_a_shell_reads_back_every_argument(self, arguments: list[str]) -> None:
        command = FileCommand("test_x", ("python", *arguments))
        self.assertEqual(["python", *arguments], shlex.split(str(command)))


if __name__ == "__main__":
    run_tests()
