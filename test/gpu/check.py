"""Tries on this machine's accelerator what nothing else can show, in about five minutes on one GPU.

    python test/gpu/check.py                   everything
    python test/gpu/check.py --only faults     one part; --list names them

It prints one table: what was tried, what was expected and seen, how long it took, and what could not be tried and why.
Exit status: 0 where nothing failed, 1 where something did, 2 for wrong usage, 5 where there is no accelerator.

It has run on one NVIDIA H100 with torch 2.11; tests of it use a simulated device, the sample backend of `test/shim`.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpu_check.machine import ask_machine
from gpu_check.plan import checks_of
from gpu_check.row import Row, Verdict
from gpu_check.table import format_line, format_table

NOTHING_FAILED, SOMETHING_FAILED, NO_ACCELERATOR = 0, 1, 5


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    began = time.monotonic()
    machine = ask_machine()
    if options.list:
        print("\n".join(check.name for check in checks_of(machine)))
        return NOTHING_FAILED
    if not machine.count:
        print(f"nothing can be tried: torch {machine.torch} finds no accelerator here")
        return NO_ACCELERATOR
    rows: list[Row] = []
    for check in checks_of(machine):
        if fnmatch.fnmatchcase(check.name, options.only):
            found = check.rows(machine)
            print(*map(format_line, found), sep="\n", file=sys.stderr, flush=True)
            rows += found
    print(format_table(machine.lines(), rows, time.monotonic() - began))
    return SOMETHING_FAILED if any(row.verdict is Verdict.FAILED for row in rows) else NOTHING_FAILED


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", default="*", help='parts whose name fits, as in "shared*"')
    parser.add_argument("--list", action="store_true", help="name the parts and try nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
