"""The table in pyproject.toml: each option that it may have, and one sentence for what it may not."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from torch_testing_shim._runner.cli.arguments import CommandLine, make_options, parse_options, read_command_line
from torch_testing_shim._runner.cli.option_rows import as_path
from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.cli.parser import make_parser
from torch_testing_shim._runner.cli.project_table import OF_ONE_RUN, read_table
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

#: A line of the table for each key, and the same on a command line. {HERE} is the folder of pyproject.toml.
LINES = {
    'exclude = ["a", "b/*"]': "--exclude a b/*",
    'hw-classification = ["cpu"]': "--hw-classification CPU",
    "distributed-tests = true": "--distributed-tests",
    "exclude-distributed-tests = true": "--exclude-distributed-tests",
    'root = "tests"': "--root {HERE}/tests",
    'patterns = ["t_*"]': "--patterns t_*",
    'exclude-folders = ["old"]': "--exclude-folders old",
    'bring-to-front = ["a"]': "--bring-to-front a",
    "failed-first = true": "--failed-first",
    "jobs = 3": "--jobs 3",
    'jobs = "auto"': "--jobs auto",
    "cold = true": "--cold",
    "keep-going = true": "--keep-going",
    "continue-through-error = true": "--keep-going",
    'device = "cpu"': "--device cpu",
    "share-devices = true": "--share-devices",
    "world-size = 2": "--world-size 2",
    "seed = 0": "--seed 0",
    "strict-leaks = true": "--strict-leaks",
    "showlocals = true": "--showlocals",
    "coverage = true": "--coverage",
    "timeout = 1.5": "--timeout 1.5",
    "enable-timeout = true": "--enable-timeout",
    "deadline = 60": "--deadline 60",
    "retries = 2": "--retries 2",
    "fail-on-flaky = true": "--fail-on-flaky",
    "repeat = 2": "--repeat 2",
    "until-failure = true": "--until-failure",
    'expectations = "e.toml"': "--expectations {HERE}/e.toml",
    "verbose = 2": "-v -v",
    "pipe-logs = true": "--pipe-logs",
    "durations = 0": "--durations 0",
    "why-skipped = true": "--why-skipped",
    "fail-if-all-skipped = true": "--fail-if-all-skipped",
    "save-xml = true": "--save-xml",
    'save-xml = "x"': "--save-xml={HERE}/x",
    'report-html = "/r.html"': "--report-html /r.html",
    'trace = "t"': "--trace {HERE}/t",
    'json-lines = "j"': "--json-lines {HERE}/j",
    'write-failed = "w"': "--write-failed {HERE}/w",
    'times = "t"': "--times {HERE}/t",
}
WRONG = {
    "jobs = 0": "jobs: '0' is neither a whole number from 1 nor auto",
    "jobs = []": "jobs: must be a string or a number, not []",
    'keep-going = "yes"': 'keep-going: must be true or false, not "yes"',
    'exclude = "a"': 'exclude: must be a list of strings, not "a"',
    "exclude = [1]": "exclude: must be a list of strings, not [1]",
    "verbose = true": "verbose: must be a whole number from 0, not true",
    'hw-classification = ["TPU"]': "hw-classification: must be one of GENERIC, ACCELERATOR, CPU, CUDA, MPS, XPU",
    'report-html = ""': "report-html: '' is no path",
    "timeout = inf": "timeout: 'inf' is not a positive number of seconds",
    "seed = 1979-05-27": 'seed: must be a string or a number, not "1979-05-27"',
    "no-keep-going = true": "no-keep-going is not an option",
    "shard = [1, 2]": "shard is not an option",
    "jit = true": "jit is not an option",
}


class TableTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def read(self, text: str) -> dict[str, Any]:
        (self.folder / "pyproject.toml").write_text(text)
        return read_table(self.folder)

    def options(self, line: str, *typed: str) -> Options:
        return make_options(read_command_line(typed), self.read(f"[tool.torch_testing_shim]\n{line}\n"))

    def refusal(self, text: str) -> str:
        with self.assertRaises(UsageError) as caught:
            self.read(text)
        self.assertEqual(1, len(str(caught.exception).splitlines()))
        return str(caught.exception)

    def test_each_key_is_the_option_of_its_name(self) -> None:
        for line, typed in LINES.items():
            wanted = parse_options(typed.format(HERE=self.folder).split())
            self.assertEqual(wanted, self.options(line), line)
            self.assertNotEqual(Options(), wanted, line)

    def test_each_option_that_people_repeat_has_a_key(self) -> None:
        found = {}
        for action in make_parser()._actions:
            for name in action.option_strings:
                if action.dest not in OF_ONE_RUN and name.startswith("--") and not name.startswith("--no-"):
                    line, typed = self.sample_of(action, name)
                    found[name[2:]] = self.options(f"{name[2:]} = {line}") == parse_options(typed)
        self.assertEqual([], [key for key, is_alike in found.items() if not is_alike])
        self.assertLessEqual({line.partition(" ")[0] for line in LINES}, found.keys())

    def sample_of(self, action: argparse.Action, name: str) -> tuple[str, list[str]]:
        """A value in TOML for an option, and the words of a command line that mean the same."""
        if isinstance(action, argparse._CountAction):
            return "2", [name, name]
        if action.nargs == 0:
            return "true", [name]
        text = next(text for text in ("1", "cpu", "/x") if self.is_taken(action, text))
        value = json.dumps([text] if action.nargs == "+" else text)
        return value, [f"{name}={text}"]

    def is_taken(self, action: argparse.Action, text: str) -> bool:
        """True for a value that the option takes, and that the table does not take for a relative path."""
        is_path = action.type is as_path or action.dest == "save_xml"
        if is_path is not text.startswith("/") or (action.dest == "device" and text == "1"):
            return False
        try:
            value = action.type(text) if callable(action.type) else text
        except argparse.ArgumentTypeError:
            return False
        return action.choices is None or value in action.choices

    def test_what_is_wrong_is_told_in_a_sentence(self) -> None:
        for line, told in WRONG.items():
            sentence = self.refusal(f"[tool.torch_testing_shim]\n{line}\n")
            self.assertTrue(
                sentence.startswith(f"'{self.folder}/pyproject.toml': [tool.torch_testing_shim] {told}"), line
            )

    def test_a_file_that_cannot_be_read(self) -> None:
        self.assertRegex(self.refusal("[tool.torch_testing_shim\n"), "^cannot read '.*/pyproject.toml': ")
        self.assertRegex(self.refusal("[tool]\ntorch_testing_shim = 3\n"), "torch_testing_shim must be a table, not 3$")
        (self.folder / "pyproject.toml").unlink()
        (self.folder / "pyproject.toml").mkdir()
        with self.assertRaisesRegex(UsageError, "cannot read '.*/pyproject.toml': Is a directory"):
            read_table(self.folder)

    def test_there_need_be_no_table(self) -> None:
        self.assertEqual({}, read_table(self.folder / "none"))
        self.assertEqual({}, self.read("[tool.ruff]\nbroken because it is not ours\n"))
        self.assertEqual({}, self.read("[project]\ndependencies = ['torch_testing_shim']\n"))

    def test_the_command_line_wins(self) -> None:
        pairs = {
            "jobs = 3": ("--jobs 1", {"jobs": 1}),
            'exclude = ["a"]': ("-x b", {"exclude": ("b",)}),
            "keep-going = true": ("--no-keep-going", {"keep_going": False}),
            "showlocals = true": ("--no-showlocals", {"showlocals": False}),
            "distributed-tests = true": ("--exclude-distributed-tests", {"distributed": False}),
            "verbose = 2": ("-v", {"verbosity": 1}),
            'save-xml = "a"': ("--save-xml", {"save_xml": ""}),
        }
        for line, (typed, wanted) in pairs.items():
            found = self.options(line, *typed.split())
            self.assertEqual(wanted, {name: getattr(found, name) for name in wanted}, line)

    def test_a_flag_that_is_false_is_as_good_as_none(self) -> None:
        for line in ("keep-going = false", "distributed-tests = false", "share-devices = false", "save-xml = false"):
            self.assertEqual(make_options(CommandLine({}), {}), self.options(line), line)


if __name__ == "__main__":
    run_tests()
