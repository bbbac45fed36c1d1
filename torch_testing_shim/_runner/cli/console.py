# PYTHON_ARGCOMPLETE_OK
"""The console script `torch-testing-shim`: run_test.py for any repository.

torch-testing-shim run [NAME ...] [options] [-- ARGUMENT ...]
torch-testing-shim list [NAME ...] [options]
torch-testing-shim merge DIR [DIR ...] [--report-html FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from torch_testing_shim._shared.exit_status import ExitStatus

from .main import guarded, merge, run_command
from .option_rows import as_path
from .options import Options

PROGRAM = "torch-testing-shim"
USAGE = f"""\
usage: {PROGRAM} run [NAME ...] [options] [-- ARGUMENT ...]
       {PROGRAM} list [NAME ...] [options]
       {PROGRAM} merge DIR [DIR ...] [--report-html FILE]

run    runs test files, each in its own process; `{PROGRAM} run --help` lists the options
list   prints the names of the files that run with the same words would run
merge  one verdict over the --json-lines reports below each DIR, a DIR for a group of shards

Files and folders among the NAMEs say where the tests are; else [tool.torch_testing_shim] in pyproject.toml does by its
key root; else they are looked for below the folder of the nearest pyproject.toml, or below this one.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, by default with the process's own arguments, and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("run", "list"):
        return run_command(rest if name == "run" else ["--list", *rest], f"{PROGRAM} {name}")
    if name == "merge":
        return _merge(rest)
    if name in ("-h", "--help"):
        print(USAGE, end="")
        return ExitStatus.PASSED
    print(f"{PROGRAM}: error: {f'there is no command {name!r}' if name else 'say what to do'}\n", file=sys.stderr)
    print(USAGE, end="", file=sys.stderr)
    return ExitStatus.USAGE


def _merge(words: Sequence[str]) -> int:
    program = f"{PROGRAM} merge"
    parser = argparse.ArgumentParser(
        prog=program, description="One verdict over the reports of several runs.", allow_abbrev=False
    )
    reports = "a folder with --json-lines reports (*.jsonl) below it, for a group of shards"
    parser.add_argument("folders", nargs="+", metavar="DIR", type=as_path, help=reports)
    parser.add_argument("--report-html", type=as_path, metavar="FILE", help="one HTML page with all results")
    found = parser.parse_args(words)
    options = Options(merge_reports=tuple(found.folders), report_html=found.report_html, program=program)
    return guarded(program, lambda stop: merge(options))
