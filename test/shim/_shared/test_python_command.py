"""Options of `python` itself reach every process of a test, whoever starts it, and the line that runs it again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from torch_testing_shim._shared.python_command import interpreter_flags
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import ROOT, RunnerTestCase

SAYS_ALL = "import sys; print(sys.flags, sys.warnoptions, sys._xoptions)"

#: Two tests that say what reached them, one in a rank; the other fails, for its line.
SAMPLE = """
import json, os, sys
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import TestCase, run_tests

def say(where):
    flags = [sys.flags.no_user_site, sys.flags.bytes_warning, sys.warnoptions, sys._xoptions]
    is_warm = "torch_testing_shim._runner.warm.interpreter" in sys.modules
    with open("said.jsonl", "a") as stream:
        stream.write(json.dumps([where, is_warm, flags]) + "\\n")

class FlagsTest(TestCase):
    def test_here(self):
        say("here")
        self.fail("on purpose")

class FlagsInRankTest(MultiProcessTestCase):
    world_size = 1

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_in_rank(self):
        say("rank")

if __name__ == "__main__":
    run_tests()
"""
TYPED = ("-bbs", "-Werror::FutureWarning", "-X", "of_a_test=1")
REACHED = [1, 2, ["error::FutureWarning", "error::BytesWarning"], {"of_a_test": "1"}]
SHOWN = "python -b -b -s -W error::FutureWarning -X of_a_test=1"


class ReadingTest(TestCase):
    def test_each_is_told_by_itself_and_the_program_is_not_looked_at(self) -> None:
        for typed, flags in (
            ("python x.py -W error", ""),
            ("python -bb -sWerror x.py -O", "-b -b -s -W error"),
            ("python -OW error -Xdev -m pytest -W ignore", "-O -W error -X dev"),
            ("python -Ec print -O", "-E"),
            ("python -ix -u - -O", "-u"),
            ("python -O -- x.py", "-O"),
            ("python --check-hash-based-pycs never -B x.py", "--check-hash-based-pycs never -B"),
            ("python -W", "-W "),
            ("python", ""),
            ("", ""),
        ):
            self.assertEqual(flags, " ".join(interpreter_flags(typed.split(" "))), typed)

    def test_an_interpreter_that_gets_them_is_set_alike(self) -> None:
        for flags in (
            ["-bbO", "-Werror", "-sBX", "utf8"],
            ["-I", "-OO"],
            ["-W", "ignore", "-Wdefault::UserWarning", "-d"],
        ):
            shown = [
                subprocess.run([sys.executable, *given, "-c", SAYS_ALL], capture_output=True, text=True, check=True)
                for given in (flags, interpreter_flags([sys.executable, *flags, "-c", SAYS_ALL]))
            ]
            self.assertEqual(shown[0].stdout, shown[1].stdout)

    def test_output_is_unbuffered_also_where_the_environment_does_not_count(self) -> None:
        code = "from torch_testing_shim._runner.process.command import own_interpreter; print(own_interpreter()[1:])"
        for flags, expected in ((["-O"], ("-O",)), (["-EO"], ("-E", "-O", "-u")), (["-uE"], ("-u", "-E"))):
            command = [sys.executable, *flags, "-c", code]
            shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            self.assertEqual(f"{expected}\n", shown)


class HandingOnTest(RunnerTestCase):
    def said(self, *command: str, **variables: str) -> tuple[list[list[object]], str]:
        """The tests' words, and the command's output."""
        self.write("test_flags", SAMPLE)
        done = subprocess.run(
            [sys.executable, *TYPED, *command],
            cwd=self.tree,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(1, done.returncode, done.stdout)
        path = self.tree / "said.jsonl"
        lines = sorted(json.loads(line) for line in path.read_text().splitlines())
        path.unlink()
        return lines, done.stdout

    def test_children_and_spawned_ranks_have_them(self) -> None:
        said, output = self.said("test/test_flags.py", "--subprocess", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertEqual([["here", False, REACHED], ["rank", False, REACHED]], said)
        self.assertIn(f"{SHOWN} test/test_flags.py FlagsTest.test_here\n", output)

    def test_files_have_them_warm_and_cold(self) -> None:
        said, output = self.said("run_test.py", "--cold")
        self.assertEqual([["here", False, REACHED], ["rank", False, REACHED]], said)
        self.assertIn(f"{SHOWN} test/test_flags.py FlagsTest.test_here\n", output)
        said, output = self.said("run_test.py", "--repeat", "2")
        self.assertEqual([["here", True, REACHED]] * 2 + [["rank", True, REACHED]] * 2, said)
        self.assertIn(f"{SHOWN} test/test_flags.py FlagsTest.test_here\n", output)


if __name__ == "__main__":
    run_tests()
