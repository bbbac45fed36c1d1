"""The command of a test file, as a shell and the warm interpreter read it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.process.command import FileCommand, read_command, write_command
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

WORDS = st.lists(st.text(st.characters(exclude_characters="\0"))).map(tuple)


class CommandTest(TestCase):
    def test_a_command_reads_as_typed_in_a_shell(self) -> None:
        command = FileCommand(
            "test_x", "/a b/test_x.py", ("-k", "a*"), interpreter=("python",), variables={"A": "b c"}, package="/a b"
        )
        self.assertExpectedInline(
            str(command),
            """A='b c' PYTHONPATH='/a b' python '/a b/test_x.py' -k 'a*'""",
        )

    @given(st.lists(st.text(st.characters(exclude_characters="\0"))))
    def test_a_shell_reads_back_every_argument(self, arguments: list[str]) -> None:
        command = FileCommand("test_x", "test_x.py", tuple(arguments), interpreter=("python",))
        self.assertEqual(["python", "test_x.py", *arguments], shlex.split(str(command)))

    @given(WORDS, WORDS, st.none() | WORDS, st.dictionaries(st.text(), st.text(st.characters(categories=["L", "Cs"]))))
    def test_a_command_that_was_written_is_read_as_it_was(
        self, arguments: tuple[str, ...], nodes: tuple[str, ...], harness: tuple[str, ...] | None, names: dict[str, str]
    ) -> None:
        command = FileCommand("test_x", "/test_x.py", arguments, nodes=nodes, harness=harness, variables=names)
        with tempfile.TemporaryDirectory() as folder:
            write_command(Path(folder, "order.json"), command, names)
            self.assertEqual((command, names), read_command(f"{folder}/order.json"))


if __name__ == "__main__":
    run_tests()
