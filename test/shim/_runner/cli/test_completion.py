"""Completion, asked for as a shell does: bash with argcomplete's own functions, and the protocol below them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import argcomplete

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase

GLOBAL_COMPLETION = Path(argcomplete.__file__).with_name("bash_completion.d") / "_python-argcomplete"

#: The steps of bash when the user presses TAB at the end of a line.
PRESS_TAB = """
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9
read -ra COMP_WORDS <<< "$2"
_python_argcomplete_global python
printf '%s\\n' "${COMPREPLY[@]}"
"""


class CompletionTest(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("distributed/test_a", "distributed/test_b", "test_c"):
            self.sample(name, "def test_a(self): pass")

    def press_tab(self, line: str) -> list[str]:
        """The words that bash offers after `line`."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        result = subprocess.run(
            ["bash", "-c", PRESS_TAB, "bash", str(GLOBAL_COMPLETION), line],
            cwd=self.tree,
            env=self.environment(PATH=path),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        return sorted(result.stdout.split())

    def ask(self, line: str, **changes: str) -> tuple[int, str, str]:
        """The answer of `run_test.py` when it is asked as argcomplete's shell functions ask: status, answer, output."""
        answer = self.tree / "answer"
        answer.write_text("")
        environment = self.environment(
            _ARGCOMPLETE="2",
            _ARGCOMPLETE_IFS="\n",
            _ARGCOMPLETE_SUPPRESS_SPACE="1",
            _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
            COMP_LINE=line,
            COMP_POINT=str(len(line)),
            **changes,
        )
        result = self.run_test(env=environment)
        return result.returncode, answer.read_text(), result.stdout

    def test_bash_completes_names_of_tests(self) -> None:
        self.assertEqual(["distributed/test_a", "distributed/test_b"], self.press_tab("python run_test.py distr"))
        self.assertEqual(["test_c"], self.press_tab("python run_test.py -v --exclude distributed/test_a test_"))

    def test_names_options_and_values(self) -> None:
        def answers(end: str) -> list[str]:
            status, answer, output = self.ask(f"python run_test.py {end}")
            self.assertEqual((0, ""), (status, output))
            return sorted(answer.split())

        self.assertEqual(["distributed/test_a", "distributed/test_b", "test_c"], answers("-x "))
        self.assertEqual(["test/test_c.py"], answers("test/test_"))
        self.assertEqual(["--last", "--last-failed"], answers("--las"))
        self.assertEqual(["auto"], answers("--jobs "))
        self.assertEqual([], answers("--jit"))

    def test_without_argcomplete_the_shell_is_told_to_help_itself(self) -> None:
        (self.tree / "argcomplete.py").write_text("raise ImportError('gone')")
        self.assertEqual((1, "", ""), self.ask("python run_test.py dis"))

    def test_a_tree_without_tests_has_no_names(self) -> None:
        (self.tree / "test").rename(self.tree / "elsewhere")
        self.assertEqual((0, "", ""), self.ask("python run_test.py dis"))


if __name__ == "__main__":
    run_tests()
