"""The options about expectations, and the file's format as `--help` shows it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EXPECTATIONS_HEADING = "what is expected not to pass"


def add_expectation_arguments(group: argparse._ArgumentGroup, path: Callable[[str], Path]) -> None:
    """Add the options; `path` reads a path."""
    add = group.add_argument
    add("--expectations", type=path, metavar="FILE", help="TOML: which tests are xfail, skip or flaky; see below")
    add("--update-expectations", action="store_true", help="after the run, write into FILE what it has shown")
    add(
        "--import-disabled-tests",
        nargs=2,
        type=path,
        metavar=("JSON", "FILE"),
        help="write PyTorch's list of disabled tests as expectations, for the test files that are here; run nothing",
    )
    platform = "a platform of that list, as linux or rocm (repeatable; default: this machine's)"
    add("--platform", action="append", default=[], dest="platforms", metavar="NAME", help=platform)


def wrong_use(given: dict[str, object]) -> str:
    """The mistake in a combination of the options; "" where there is none."""
    if given["update_expectations"] and given["expectations"] is None:
        return "--update-expectations goes with --expectations"
    if given["platforms"] and given["import_disabled_tests"] is None:
        return "--platform goes with --import-disabled-tests"
    return ""


FORMAT = """\
  An expectations file is TOML, with one entry for each test or group of tests:

    [[test]]
    id = "distributed/test_x::TestFoo.test_bar"      # needed, as --list and failures name it
    expect = "xfail"                                 # needed: xfail, skip or flaky
    reason = "no bfloat16 all_reduce yet"
    issue = "https://github.com/..."
    when = { device = "npu", torch = ">=2.6,<2.9" }  # only there; device may be a list, torch is as in PEP 440
    error = "not implemented for 'BFloat16'"         # a regular expression, searched in the report of the failure

  xfail: the test runs and has to fail, by that error where one is given. A pass and another error are failures.
  skip: the test does not run. flaky: the test may fail; it runs again up to twice, or as --retries says.
  An id may be FILE::Class or FILE for all tests there, or a glob: *, ?, [abc], {this,that}. An exact id comes before
  globs, and a later glob before an earlier one. An entry that matches no test fails a run that has listed all tests
  it could match."""
