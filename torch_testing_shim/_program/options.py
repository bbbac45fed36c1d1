"""The options of a test file: its command line as one frozen `ProgramOptions`, and the environment, by which options
reach child processes and ranks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import expecttest

from torch_testing_shim._shared.hardware import add_hardware_option
from torch_testing_shim._shared.journal import Journal
from torch_testing_shim._shared.settings import DEFAULTS, Settings, add_setting_options, as_variables, take_settings
from torch_testing_shim._shared.values import as_argument, whole_number

DEFAULT_REPORT_FOLDER = "test-reports"
#: Options of upstream's test files that are refused -> why.
_REFUSED = {
    "--jit-executor": "tests run with the executor of TorchScript that torch has chosen",
    "--test-bailouts": "bailouts of TorchScript are for torch's own tests of its executor",
}


class UsageError(ValueError):
    """The run cannot be done as it was asked for; the message is one sentence for each problem, one a line. Every part
    of the program raises it, and `run_tests` prints it and exits with 2."""


@dataclass(frozen=True)
class ProgramOptions:
    """The options of a test file, as the help of its parser describes them."""

    #: "Class" or "Class.method"; no names for all tests.
    names: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    #: Names of `HardwareClassification`; a test's class must have one of them; empty for all tests.
    hw_classification: tuple[str, ...] = ()
    verbosity: int = 1  # 0 quiet, 1 normal, 2 a line per test
    failfast: bool = False
    buffer: bool = False
    #: Set by the options, here and in child processes (see `settings`); all else at its default.
    settings: Settings = DEFAULTS
    discover: bool = False
    repeat: int = 1
    subprocess: bool = False
    run_parallel: int = 1
    use_pytest: bool = False
    save_xml: Path | None = None  # path of the JUnit report, or None
    accept: bool = False


def parse_arguments(arguments: Sequence[str], script: str) -> ProgramOptions:
    """Read a command line, without the program's name.

    Args:
        script: path of the test file.

    Raises:
        SystemExit: with status 2 where the command line is wrong, 0 for -h; the parser has printed why.
    """
    parser = _parser(Path(script).name)
    for word in arguments:
        option = word.partition("=")[0].replace("_", "-")
        if option in _REFUSED:
            parser.error(f"{option} is not supported: {_REFUSED[option]}")
    found = parser.parse_args(arguments)
    ways = [way for way in ("subprocess", "use_pytest") if getattr(found, way)] + ["run_parallel"] * (
        found.run_parallel > 1
    )
    if len(ways) > 1:
        parser.error(" and ".join(f"--{way.replace('_', '-')}" for way in ways) + " cannot be combined")
    given = {**vars(found), "save_xml": _report_path(found.save_xml, script, found.log_suffix)}
    chosen = {each.name: given[each.name] for each in fields(ProgramOptions) if each.name != "settings"}
    lists = {name: tuple(dict.fromkeys(value)) for name, value in chosen.items() if isinstance(value, list)}
    return ProgramOptions(**{**chosen, **lists}, settings=take_settings(given, in_runner=False))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False)
    tests = parser.add_argument_group("unittest's options")
    add, count = tests.add_argument, as_argument(whole_number(1))
    add("names", nargs="*", metavar="Class[.method]", help="run only these")
    add(
        "-k",
        dest="patterns",
        action="append",
        default=[],
        metavar="PATTERN",
        help="run only tests that it matches: a part of a name, a glob, or words with and, or, not",
    )
    add("-v", "--verbose", dest="verbosity", action="store_const", const=2, default=1, help="a line per test")
    add("-q", "--quiet", dest="verbosity", action="store_const", const=0, help="only failures and the summary")
    add("-f", "--failfast", action="store_true", help="stop at the first failure")
    add("-b", "--buffer", action="store_true", help="show output only of tests that fail")
    add("-c", "--catch", action="store_true", help="accepted: Ctrl-C always ends with a report of what ran")
    group = parser.add_argument_group("upstream's options")
    add_setting_options(group, in_runner=False)
    add_hardware_option(group.add_argument)
    harness = group.add_argument
    harness("--discover-tests", dest="discover", action="store_true", help="print the names of the tests and run none")
    harness("--repeat", type=count, default=1, metavar="N", help="run N times, until a run fails")
    harness("--subprocess", action="store_true", help="run each test in a process of its own")
    harness("--run-parallel", type=count, default=1, metavar="N", help="share the tests out to N processes")
    harness("--use-pytest", action="store_true", help="let pytest run the tests")
    harness("--save-xml", nargs="?", const=DEFAULT_REPORT_FOLDER, metavar="PATH", help="write a JUnit report")
    harness("--log-suffix", default="", metavar="TEXT", help="end the name of the report's folder, or file, by it")
    harness("--accept", action="store_true", help="rewrite expected output with what comes out")
    leave_out: dict[str, Any] = {"dest": "excluded", "action": "append", "default": [], "metavar": "Class[.method]"}
    parser.add_argument_group("our own").add_argument("--exclude-test", help="leave out (repeatable)", **leave_out)
    return parser


def _report_path(given: str | None, script: str, suffix: str) -> Path | None:
    """A path that ends in .xml is the report's own; any other is the folder that it is written to."""
    if given is None:
        return None
    path = Path(given)
    named = path.with_name(f"{path.stem}{suffix}.xml" if path.suffix == ".xml" else f"{path.name}{suffix}")
    return named if path.suffix == ".xml" else named / f"{Path(script).stem}.xml"


def export(options: ProgramOptions) -> None:
    """Put options into this process's environment, where settings are read from, and which child processes inherit."""
    os.environ.update(as_variables(options.settings))
    if options.accept:
        os.environ["EXPECTTEST_ACCEPT"] = "1"
        expecttest.ACCEPT = "1"  # what expecttest has read from the environment when it was imported


def take_journal(settings: Settings) -> Journal | None:
    """The journal of this run, None where it keeps none. The variable that names it is taken out of the environment:
    another test file that a test starts must not write into this run's journal."""
    os.environ.pop("TORCH_TESTING_SHIM_JOURNAL", None)
    return Journal(os.path.abspath(settings.journal)) if settings.journal is not None else None


def take_expectations(settings: Settings) -> Path | None:
    """The skip list of this run, None where there is none. Its variable is taken out for the same reason."""
    os.environ.pop("TORCH_TESTING_SHIM_EXPECTATIONS", None)
    return Path(settings.expectations) if settings.expectations is not None else None


def child_environment(journal: Path) -> dict[str, str]:
    """The environment of a child process that writes a journal of its own."""
    return {**os.environ, "TORCH_TESTING_SHIM_JOURNAL": str(journal)}
