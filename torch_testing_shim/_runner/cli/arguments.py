"""The command line: arguments in, one frozen `Options` out. argparse's namespace goes no further than this file."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.device_map import parse_device_map
from torch_testing_shim._shared.hardware import add_hardware_option
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim._shared.setting_options import add_setting_options, take_settings
from torch_testing_shim._shared.values import as_argument, seconds, whole_number

from ..expectations.arguments import EXPECTATIONS_HEADING, FORMAT, add_expectation_arguments, wrong_use
from ..plan.sharding import Shard
from .options import DEFAULT_FILE_TIMEOUT, Options
from .upstream_options import add_upstream_arguments, add_upstream_options

__all__ = ["make_parser", "parse_options"]

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


def parse_options(arguments: Sequence[str]) -> Options:
    """Reads the command line (without the program's name).

    Raises:
        SystemExit: with 2 after a message where the arguments are wrong, with 0 after `--help`.
    """
    own, file_arguments = _split_at_dashes(arguments)
    parser = make_parser()
    given: dict[str, Any] = vars(parser.parse_intermixed_args(own))
    settings = dataclasses.replace(take_settings(given), show_output=given["verbosity"] > 1)
    if settings.device is not None and not settings.device.isidentifier():
        parser.error(f"--device {settings.device!r} is not a device type; write one such as cpu or cuda")
    try:
        given["shard"] = Shard(*given["shard"]) if given["shard"] else None
    except ValueError as error:
        parser.error(f"--shard: {error}")
    if (given["map_device"] is not None or given["report_surface"]) and not given["upstream"]:
        parser.error("--map-device and --report-surface go with --upstream")
    if problem := wrong_use(given):
        parser.error(problem)
    try:
        given["map_device"] = parse_device_map(given["map_device"]) if given["map_device"] is not None else None
    except ValueError as error:
        parser.error(f"--map-device {error}")
    given["include"] = (*given.pop("names"), *given["include"])
    given["xml_folder"], given["save_xml"] = given["save_xml"] or None, given["save_xml"] is not None
    if given["repeat"] is None:
        given["repeat"] = 0 if given["until_failure"] else 1
    if given["enable_timeout"] and given["timeout"] is None:
        given["timeout"] = DEFAULT_FILE_TIMEOUT
    given["cold"] = given["cold"] or given["coverage"]  # coverage.py starts with the interpreter
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Options(**fields, settings=settings, file_arguments=file_arguments)


def _split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def make_parser() -> argparse.ArgumentParser:
    """The parser with all options, grouped as `--help` shows them. Each `dest` is the name of a field of `Options`."""
    parser = argparse.ArgumentParser(
        prog="run_test.py",
        usage="%(prog)s [NAME ...] [options] [-- ARGUMENT ...]",
        description="Runs test files under test/, each in its own process. What stands after -- goes to the files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_choosing(parser.add_argument_group("what to run"))
    _add_ordering(parser.add_argument_group("in which order"))
    _add_running(parser.add_argument_group("how to run it"))
    _add_repeating(parser.add_argument_group("again"))
    add_expectation_arguments(parser.add_argument_group(EXPECTATIONS_HEADING), as_path)
    _add_showing(parser.add_argument_group("what to show"))
    _add_writing(parser.add_argument_group("what to write"))
    add_upstream_arguments(parser.add_argument_group("PyTorch's own test files"))
    add_upstream_options(parser)
    return parser


def as_keyword(text: str) -> str:
    try:
        read_keyword(text)
    except KeywordError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def as_jobs(text: str) -> int:
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
    add("--showlocals", action=argparse.BooleanOptionalAction, default=False, help="local variables in tracebacks")
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
