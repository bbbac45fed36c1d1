"""The options about expectations."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .format import FORMAT

__all__ = ["EXPECTATIONS_HEADING", "FORMAT", "add_expectation_arguments", "wrong_use"]

EXPECTATIONS_HEADING = "what is expected not to pass"


def add_expectation_arguments(group: argparse._ArgumentGroup, path: Callable[[str], Path]) -> None:
    """Adds them; `path` reads a path."""
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
    """What is wrong with how the options go together; "" where nothing is."""
    if given["update_expectations"] and given["expectations"] is None:
        return "--update-expectations goes with --expectations"
    if given["platforms"] and given["import_disabled_tests"] is None:
        return "--platform goes with --import-disabled-tests"
    return ""
