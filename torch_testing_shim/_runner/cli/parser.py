"""The options of the command line, as argparse has them, and their help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.hardware import add_hardware_option
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim._shared.setting_options import add_setting_options
from torch_testing_shim._shared.values import as_argument, seconds, whole_number

from ..expectations.arguments import EXPECTATIONS_HEADING, FORMAT, add_expectation_arguments
from ..plan.tree import DEFAULT_PATTERNS
from .options import DEFAULT_FILE_TIMEOUT
from .upstream_options import add_upstream_arguments, add_upstream_options

PROGRAM = "run_test.py"

as_count = as_argument(whole_number(1))
as_natural = as_argument(whole_number(0))
as_seconds = as_argument(seconds())

EPILOG = f"""\
{EXPECTATIONS_HEADING}:
{FORMAT}

examples:
  run_test.py                                                 all test files
  run_test.py distributed/checkpoint/test_fsdp_optim_state    one of them
  run_test.py 'distributed/*' -x distributed/test_c10d -k planner
  run_test.py test/test_x.py::Class::test_a -v -- --failfast
  run_test.py -x test_x::Class.test_a                         all but one test
  run_test.py --last-failed --showlocals                      what failed before, with local variables
  run_test.py -j auto --keep-going --save-xml --retries 1     as CI may want it
  run_test.py test_x::Class.test_a --repeat 100 --until-failure
  run_test.py --shard 1 4                                     a quarter, by recorded times
  run_test.py --upstream ~/pytorch/test/distributed/checkpoint --map-device cuda=cpu

exit status:
  0 all passed, 1 something failed, 2 wrong usage, 5 nothing ran, 129 ended by SIGHUP, 130 by Ctrl-C, 143 by SIGTERM
"""


def make_parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The parser with all options, grouped as `--help` shows them. Each `dest` is the name of a field of `Options`."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [NAME ...] [options] [-- ARGUMENT ...]",
        description="Runs test files, each in its own process. What stands after -- goes to the files.",
        epilog=EPILOG.replace(PROGRAM, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_choosing(parser.add_argument_group("what to run"))
    _add_finding(parser.add_argument_group("where the test files are"))
    _add_ordering(parser.add_argument_group("in which order"))
    _add_running(parser.add_argument_group("how to run it"))
    _add_repeating(parser.add_argument_group("again"))
    add_expectation_arguments(parser.add_argument_group(EXPECTATIONS_HEADING), as_path)
    _add_showing(parser.add_argument_group("what to show"))
    _add_writing(parser.add_argument_group("what to write"))
    add_upstream_arguments(parser.add_argument_group("PyTorch's own test files"))
    add_upstream_options(parser)
    _add_negations(parser)
    return parser


def _add_negations(parser: argparse.ArgumentParser) -> None:
    """`--no-OPTION` takes back a flag that the project's table sets."""
    for action in list(parser._actions):
        if isinstance(action, argparse._StoreTrueAction) and action.dest != "distributed":
            names = [f"--no-{name[2:]}" for name in action.option_strings if name.startswith("--")]
            parser.add_argument(*names, dest=action.dest, action="store_false", help=argparse.SUPPRESS)
            parser._actions[-1].default = action.default


def as_keyword(text: str) -> str:
    try:
        read_keyword(text)
    except KeywordError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def as_jobs(text: str) -> int:
    if text == "auto":
        return core_count()
    try:
        return as_count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number from 1 nor auto") from None


def as_path(text: str) -> Path:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return Path(text)


def _add_choosing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    requests = "names, folders, globs, paths, or FILE::Class.test"
    add("names", nargs="*", metavar="NAME", help=f"{requests}; all files where there is none")
    add("-i", "--include", nargs="+", action="extend", default=[], metavar="NAME", help="the same as NAME")
    add("-x", "--exclude", nargs="+", action="extend", default=[], metavar="NAME", help="what to leave out")
    add(
        "-k",
        action="append",
        default=[],
        dest="keywords",
        metavar="PATTERN",
        type=as_keyword,
        help="only tests that PATTERN matches: a part of a name, a glob, or words with and, or, not (repeatable)",
    )
    add_hardware_option(add)
    distributed = group.add_mutually_exclusive_group().add_argument
    to_distributed: dict[str, Any] = {"dest": "distributed", "default": None}
    distributed("--distributed-tests", action="store_true", help="only files under test/distributed", **to_distributed)
    distributed("--exclude-distributed-tests", action="store_false", help="only the other files", **to_distributed)
    add("--shard", nargs=2, type=int, metavar=("I", "N"), help="the I-th of N parts, from 1")
    before = group.add_mutually_exclusive_group().add_argument
    before("--last-failed", action="store_true", help="only what failed before; everything where nothing did")
    before(
        "--failed-from",
        type=as_path,
        metavar="FILE",
        help="only the tests that FILE names, as --write-failed does",
    )
    add("--list", action="store_true", dest="list_names", help="print the selected names and run nothing")
    add("--dry-run", action="store_true", help="print the commands and run nothing")


def _add_finding(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    words: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    add("--root", type=as_path, metavar="DIR", help="the folder that their names start at")
    add("--patterns", metavar="GLOB", help=f"how they are called (default: {' '.join(DEFAULT_PATTERNS)})", **words)
    folders = "folders below the root that hold none, as paths or globs: benchmarks, '*/samples'"
    add("--exclude-folders", metavar="FOLDER", help=folders, **words)


def _add_ordering(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-f", "--first", metavar="NAME", help="start at this file and leave out those before it")
    add("-l", "--last", metavar="NAME", help="end with this file and leave out those after it")
    front: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME"}
    add("--bring-to-front", help="files to run before the others", **front)
    add("--failed-first", action="store_true", help="files with tests that failed before come first")


def _add_running(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-j",
        "--jobs",
        type=as_jobs,
        default=1,
        metavar="N",
        help="files at a time; auto for one per core (default: 1)",
    )
    add("--cold", action="store_true", help="a new interpreter for each file, instead of forks of one with torch")
    add(
        "--continue-through-error", "--keep-going", action="store_true", dest="keep_going", help="go on after a failure"
    )
    add_setting_options(group, in_runner=True)
    add("--showlocals", action=argparse.BooleanOptionalAction, help="local variables in tracebacks")
    add("-c", "--coverage", action="store_true", help="run under coverage.py and report on all files together")
    add("--timeout", type=as_seconds, metavar="SECONDS", help="how long a file may take")
    add("--enable-timeout", action="store_true", help=f"the same as --timeout {DEFAULT_FILE_TIMEOUT:g}")
    add(
        "--deadline",
        type=as_seconds,
        metavar="SECONDS",
        help="start no file later than this, so that there is a report",
    )


def _add_repeating(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--retries", type=as_natural, default=0, metavar="N", help="run a failed test again, alone, up to N times")
    add("--fail-on-flaky", action="store_true", help="fail tests that passed only when they were run again")
    add("--repeat", type=as_count, metavar="N", help="run each file N times")
    add("--until-failure", action="store_true", help="repeat until something fails, without end or up to --repeat N")


def _add_showing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    verbose = "show what the test files print; twice: also what ranks print in tests that pass"
    add("-v", "--verbose", action="count", default=0, dest="verbosity", help=verbose)
    add("--pipe-logs", action="store_true", help="show what the files print as it comes, each line with its file")
    add("--durations", type=as_natural, metavar="N", help="list the N slowest tests; 0 for all")
    add("--why-skipped", action="store_true", help="list the reasons of skips")
    add("--fail-if-all-skipped", action="store_true", help="fail where every test was skipped")


def _add_writing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    junit = "JUnit XML; write --save-xml=DIR where a name follows (default: test/test-reports/python-unittest)"
    add("--save-xml", nargs="?", const="", metavar="DIR", help=junit)
    add("--report-html", type=as_path, metavar="FILE", help="one HTML page with all results")
    add("--trace", type=as_path, metavar="FILE", help="a trace of files and ranks for Chrome and Perfetto")
    add("--json-lines", type=as_path, metavar="FILE", help="one JSON object for each test and each rank")
    add("--write-failed", type=as_path, metavar="FILE", help="the failed tests, one FILE::Class.test on each line")
    add("--times", type=as_path, metavar="FILE", help="recorded times, read and written (default: the tree's own)")
    merge: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "type": as_path, "metavar": "FILE"}
    add("--merge-times", help="merge times files into that of --times and run nothing", **merge)
    merge["metavar"] = "DIR"
    reports = (
        "one verdict over the --json-lines reports (*.jsonl) below each DIR, a DIR for a group of shards; run nothing"
    )
    add("--merge-reports", help=reports, **merge)
