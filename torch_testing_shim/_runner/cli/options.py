"""The options of a run: one frozen `Options`, made by `arguments`. Its defaults are the command line's.

`Options` is the table of the command line, too. A field is declared with its option, which `parser` adds to argparse
with the field's name as `dest`. The help says what the field means, and a comment what else a reader of it must know.
Fields without an option are made by `arguments`.
"""

# ruff: noqa: RUF009  # no value is made before it is read

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._shared.settings import DEFAULTS, Settings

from ..plan.sharding import Shard
from ..plan.tree import DEFAULT_PATTERNS
from .option_rows import as_count, as_jobs, as_keyword, as_natural, as_path, as_seconds, option, options

PROGRAM = "run_test.py"
EXPECTATIONS_HEADING = "what is expected not to pass"
#: Seconds that `--enable-timeout` lets a file take: well over what the longest files of the suite need.
DEFAULT_FILE_TIMEOUT = 1800.0

_choosing = partial(option, "what to run")
_finding = partial(option, "where the test files are")
_ordering = partial(option, "in which order")
_running = partial(option, "how to run it")
_repeating = partial(option, "again")
_expecting = partial(option, EXPECTATIONS_HEADING)
_showing = partial(option, "what to show")
_writing = partial(option, "what to write")
_for_upstream = partial(option, "PyTorch's own test files")

_FLAG: dict[str, Any] = {"action": "store_true"}
_LIST: dict[str, Any] = {"nargs": "+", "action": "extend"}
_NAMES: dict[str, Any] = {**_LIST, "metavar": "NAME"}
_FILE: dict[str, Any] = {"type": as_path, "metavar": "FILE"}


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    include: tuple[str, ...] = options(
        (),
        _choosing(
            "names",
            nargs="*",
            metavar="NAME",
            help="names, folders, globs, paths, or FILE::Class.test; all files where there is none",
        ),
        _choosing("-i", "--include", help="the same as NAME", **_NAMES),
    )
    exclude: tuple[str, ...] = _choosing("-x", "--exclude", help="what to leave out", **_NAMES)
    keywords: tuple[str, ...] = _choosing(
        "-k",
        action="append",
        metavar="PATTERN",
        type=as_keyword,
        help="only tests that PATTERN matches: a part of a name, a glob, or words with and, or, not (repeatable)",
    )
    #: `parser` adds its option, which test files and pytest have, too.
    hw_classification: tuple[str, ...] = ()
    #: True for only the files under test/distributed, False for only the others, None for both.
    distributed: bool | None = options(
        None,
        _choosing("--distributed-tests", rivals="distributed", help="only files under test/distributed", **_FLAG),
        _choosing(
            "--exclude-distributed-tests", rivals="distributed", help="only the other files", action="store_false"
        ),
    )
    shard: Shard | None = _choosing(
        "--shard", nargs=2, type=int, metavar=("I", "N"), help="the I-th of N parts, from 1"
    )
    last_failed: bool = _choosing(
        "--last-failed", rivals="failed", help="only what failed before; everything where nothing did", **_FLAG
    )
    failed_from: Path | None = _choosing(
        "--failed-from", rivals="failed", help="only the tests that FILE names, as --write-failed does", **_FILE
    )
    list_names: bool = _choosing("--list", help="print the selected names and run nothing", **_FLAG)
    dry_run: bool = _choosing("--dry-run", help="print the commands and run nothing", **_FLAG)

    #: None to find it (see `project`).
    root: Path | None = _finding("--root", type=as_path, metavar="DIR", help="the folder that their names start at")
    patterns: tuple[str, ...] = _finding(
        "--patterns", metavar="GLOB", help=f"how they are called (default: {' '.join(DEFAULT_PATTERNS)})", **_LIST
    )
    exclude_folders: tuple[str, ...] = _finding(
        "--exclude-folders",
        metavar="FOLDER",
        help="folders below the root that hold none, as paths or globs: benchmarks, '*/samples'",
        **_LIST,
    )

    first: str | None = _ordering(
        "-f", "--first", metavar="NAME", help="start at this file and leave out those before it"
    )
    last: str | None = _ordering("-l", "--last", metavar="NAME", help="end with this file and leave out those after it")
    bring_to_front: tuple[str, ...] = _ordering("--bring-to-front", help="files to run before the others", **_NAMES)
    failed_first: bool = _ordering("--failed-first", help="files with tests that failed before come first", **_FLAG)

    jobs: int = _running(
        "-j", "--jobs", default=1, type=as_jobs, metavar="N", help="files at a time; auto for one per core (default: 1)"
    )
    cold: bool = _running("--cold", help="a new interpreter for each file, instead of forks of one with torch", **_FLAG)
    keep_going: bool = _running("--continue-through-error", "--keep-going", help="go on after a failure", **_FLAG)
    #: The settings of the files and their ranks. `setting_rows` has their options, which stand here in `--help`.
    settings: Settings = DEFAULTS
    showlocals: bool = _running(
        "--showlocals", default=False, action=argparse.BooleanOptionalAction, help="local variables in tracebacks"
    )
    #: `cold` holds, too.
    coverage: bool = _running(
        "-c", "--coverage", help="run under coverage.py and report on all files together", **_FLAG
    )
    timeout: float | None = _running("--timeout", type=as_seconds, metavar="SECONDS", help="how long a file may take")
    enable_timeout: bool = _running("--enable-timeout", help=f"the same as --timeout {DEFAULT_FILE_TIMEOUT:g}", **_FLAG)
    deadline: float | None = _running(
        "--deadline",
        type=as_seconds,
        metavar="SECONDS",
        help="start no file later than this, so that there is a report",
    )
    #: The words after `--`, which go to every test file as they are.
    file_arguments: tuple[str, ...] = ()

    retries: int = _repeating(
        "--retries", default=0, type=as_natural, metavar="N", help="run a failed test again, alone, up to N times"
    )
    fail_on_flaky: bool = _repeating(
        "--fail-on-flaky", help="fail tests that passed only when they were run again", **_FLAG
    )
    #: 0 for without end.
    repeat: int = _repeating("--repeat", default=1, type=as_count, metavar="N", help="run each file N times")
    until_failure: bool = _repeating(
        "--until-failure", help="repeat until something fails, without end or up to --repeat N", **_FLAG
    )

    expectations: Path | None = _expecting(
        "--expectations", help="TOML: which tests are xfail, skip or flaky; see below", **_FILE
    )
    update_expectations: bool = _expecting(
        "--update-expectations", help="after the run, write into FILE what it has shown", **_FLAG
    )
    import_disabled_tests: tuple[Path, Path] | None = _expecting(
        "--import-disabled-tests",
        nargs=2,
        type=as_path,
        metavar=("JSON", "FILE"),
        help="write PyTorch's list of disabled tests as expectations, for the test files that are here; run nothing",
    )
    platforms: tuple[str, ...] = _expecting(
        "--platform",
        action="append",
        metavar="NAME",
        help="a platform of that list, as linux or rocm (repeatable; default: this machine's)",
    )

    verbosity: int = _showing(
        "-v",
        "--verbose",
        default=0,
        action="count",
        help="show what the test files print; twice: also what ranks print in tests that pass",
    )
    pipe_logs: bool = _showing(
        "--pipe-logs", help="show what the files print as it comes, each line with its file", **_FLAG
    )
    durations: int | None = _showing(
        "--durations", type=as_natural, metavar="N", help="list the N slowest tests; 0 for all"
    )
    why_skipped: bool = _showing("--why-skipped", help="list the reasons of skips", **_FLAG)
    fail_if_all_skipped: bool = _showing("--fail-if-all-skipped", help="fail where every test was skipped", **_FLAG)

    #: The folder; "" for the usual one.
    save_xml: str | None = _writing(
        "--save-xml",
        nargs="?",
        const="",
        metavar="DIR",
        help="JUnit XML; write --save-xml=DIR where a name follows (default: test/test-reports/python-unittest)",
    )
    report_html: Path | None = _writing("--report-html", help="one HTML page with all results", **_FILE)
    trace: Path | None = _writing("--trace", help="a trace of files and ranks for Chrome and Perfetto", **_FILE)
    json_lines: Path | None = _writing("--json-lines", help="one JSON object for each test and each rank", **_FILE)
    write_failed: Path | None = _writing(
        "--write-failed", help="the failed tests, one FILE::Class.test on each line", **_FILE
    )
    times: Path | None = _writing("--times", help="recorded times, read and written (default: the tree's own)", **_FILE)
    merge_times: tuple[Path, ...] = _writing(
        "--merge-times", help="merge times files into that of --times and run nothing", **_LIST, **_FILE
    )
    merge_reports: tuple[Path, ...] = _writing(
        "--merge-reports",
        type=as_path,
        metavar="DIR",
        help="one verdict over the --json-lines reports (*.jsonl) below each DIR, a DIR for a group of shards; "
        "run nothing",
        **_LIST,
    )

    upstream: tuple[str, ...] = _for_upstream(
        "--upstream",
        metavar="PATH",
        help="run these files and folders, by pytest where they do not use run_tests",
        **_LIST,
    )
    map_device: DeviceMap | None = _for_upstream(
        "--map-device", metavar="FROM=TO", help="make on TO what the files ask for on FROM, as cuda=cpu"
    )
    report_surface: bool = _for_upstream(
        "--report-surface", help="list the names that the files import, and run nothing", **_FLAG
    )

    #: How the command is called, in what it prints about itself.
    program: str = PROGRAM
    #: One sentence for each option that was accepted and does nothing.
    notes: tuple[str, ...] = ()

    @property
    def verbose(self) -> bool:
        """Stream what the test files print."""
        return self.verbosity > 0
