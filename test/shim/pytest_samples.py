"""Sample files that real pytest processes run, and how their tests ended."""

from __future__ import annotations

import importlib.util
import re
import textwrap
import unittest
from collections.abc import Mapping
from typing import ClassVar

from harness_samples import SampleRun, SampleTestCase

HEAD = """
import os, signal, time
import pytest
import torch
import torch.distributed as dist
"""
_KINDS = "PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN"
_LINE = re.compile(rf"^({_KINDS}) (?:at setup of )?(?:\[\d+\] )?(\S+?\.py)(?:::(\S+)|:\d+:)(?: - (.*)|(.*))$")


def needs(module: str):
    """Skip a test where a plugin of pytest is not installed."""
    return unittest.skipIf(importlib.util.find_spec(module) is None, f"{module} is not installed")


class PytestRun:
    """A run of pytest.

    Attributes:
        exit_code, output: of its process.
        outcomes: by test, "Class::name", its outcomes as the short summary has them, with the rest of the line.
    """

    def __init__(self, run: SampleRun) -> None:
        self.exit_code = run.exit_code
        self.output = run.output
        self.outcomes: dict[str, list[tuple[str, str]]] = {}
        for line in run.output.splitlines():
            if found := _LINE.match(line):
                kind, _, test, said, rest = found.groups()
                self.outcomes.setdefault(test or "", []).append((kind, said or rest.strip()))


class PytestTestCase(SampleTestCase):
    """Runs pytest on sample files in forks of a process that has imported torch."""

    #: Plugins that are loaded besides pytest's own and this package's.
    plugins: tuple[str, ...] = ()

    def write(self, body: str, name: str = "test_sample.py") -> None:
        (self.folder / name).write_text(HEAD + textwrap.dedent(body))

    def run_pytest(self, *arguments: str, expected: int | None = None, **extra: str) -> PytestRun:
        """Run pytest in the sample's folder, check its exit status and that it leaves nothing."""
        plugins = [word for name in ("torch_testing_shim.pytest_plugin", *self.plugins) for word in ("-p", name)]
        command = ("-m", "pytest", "-p", "no:cacheprovider", "-rA", *plugins, *arguments)
        extra = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "250", **extra}
        run = PytestRun(self.run_command(*command, **extra))
        if expected is not None:
            self.assertEqual(expected, run.exit_code, run.output)
        self.assertEqual([], self.processes_of_sample())
        left = [path.name for path in (self.folder / "tmp").iterdir()]
        self.assertEqual([], [name for name in left if not name.startswith(("torchinductor_", "pytest-of-"))])
        return run

    def assert_ended(self, run: PytestRun, **expected: tuple[str, str]) -> None:
        """Check how tests ended: each by name, with the beginning of what the summary says of it. "rank *" stands for
        any rank."""
        for name, (kind, said) in expected.items():
            self.assertIn(name, run.outcomes, run.output)
            found = run.outcomes[name][-1]
            self.assertEqual((name, kind), (name, found[0]), run.output)
            self.assertRegex(found[1], "^" + re.escape(said).replace(r"rank\ \*", r"rank \d"))


class SharedRunTestCase(PytestTestCase):
    """Tests that look at one run of pytest, which the first of them starts.

    Attributes:
        files: the sample's files, by name; "test_sample.py" begins with `HEAD`.
        arguments, extra, expected: of `run_pytest`.
    """

    files: Mapping[str, str] = {}
    arguments: tuple[str, ...] = ()
    extra: Mapping[str, str] = {}
    expected = 1
    __runs: ClassVar[dict[type, tuple[PytestRun, dict[str, str]]]] = {}
    __has_begun: ClassVar[set[type]] = set()

    def setUp(self) -> None:
        super().setUp()
        if type(self) not in self.__has_begun:
            self.__has_begun.add(type(self))
            for name, text in self.files.items():
                (self.folder / name).write_text((HEAD if name == "test_sample.py" else "") + textwrap.dedent(text))
            run = self.run_pytest(*self.arguments, expected=self.expected, **self.extra)
            left = {path.name: path.read_text() for path in self.folder.iterdir() if path.is_file()}
            self.__runs[type(self)] = run, left
        self.assertIn(type(self), self.__runs, "the run has failed; the first test tells how")
        self.shared, self.left = self.__runs[type(self)]

    def assert_said(self, *lines: str) -> None:
        """Check that the run's output has each text."""
        for line in lines:
            self.assertIn(line, self.shared.output)
