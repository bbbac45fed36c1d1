"""Runs the catalogue of faults and prints what became of each: verdict, named cause, seconds from the fault to the
verdict, seconds past the deadline of a hang, what was left.

    python test/conformance/fault_table.py
    python test/conformance/fault_table.py --only "hangs*" --json faults.json
    python test/conformance/fault_table.py --reuse-ranks   each fault in ranks that have run a test before
    python test/conformance/fault_table.py --hosts 2       crashes, hangs and disagreements of 4 ranks over
                                                           two hosts, by torchrun; as root
    python test/conformance/fault_table.py --upstream      the same through PyTorch's own harness, beside it: 40 minutes

After each fault a test runs in the same process that has to find everything in order. Exit status: 0 where everything
is right on this harness, 1 where something is wrong, 2 for wrong usage. Times count from the moment at which the fault
happens to the end of its test, clean-up included; for a fault that runs again in fresh ranks, from its second time.
TORCH_TESTING_SHIM_START_METHOD=spawn runs it on spawned ranks, in half an hour.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from faults.campaign import deadline_of, run_faults
from faults.catalogue import catalogue, network_faults
from faults.fault import Fault
from faults.judgement import judge
from faults.over_hosts import LIMIT_OVER_HOSTS, deadline_over_hosts, run_over_hosts
from faults.roles import THEMES_OF_HOSTS, expected_of_hosts
from faults.table import as_data, print_report
from faults.upstream import run_upstream
from hosts import reason_not_to_make
from rich.console import Console


@dataclass(frozen=True)
class Options:
    """The command line."""

    faults: tuple[Fault, ...]
    upstream: bool
    reuse_ranks: bool
    hosts: int
    json_path: Path | None


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    runnable = [fault for fault in options.faults if not fault.expected.needs()]
    if options.hosts:
        seen = run_over_hosts(runnable)
        judgements = [
            judge(fault, seen.get(fault.test), deadline_over_hosts(fault), LIMIT_OVER_HOSTS) for fault in options.faults
        ]
    else:
        seen = run_faults(runnable, reuse_ranks=options.reuse_ranks)
        judgements = [judge(fault, seen.get(fault.test), deadline_of(fault)) for fault in options.faults]
    upstream = run_upstream(runnable) if options.upstream else None
    console = Console(width=None if sys.stdout.isatty() else 200)
    ranks = "3 reused ranks" if options.reuse_ranks else "4 ranks over 2 hosts" if options.hosts else "3 ranks"
    console.print(f"torch {torch.__version__}, {ranks}", highlight=False)
    print_report(console, judgements, upstream)
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(as_data(judgements, upstream), indent=2) + "\n")
    return 1 if any(judgement.wrongs for judgement in judgements) else 0


def parse_options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", default="*", help='faults whose name fits, as in "deaths: sig*"')
    parser.add_argument("--upstream", action="store_true", help="ask PyTorch's own harness, too")
    parser.add_argument("--reuse-ranks", action="store_true", help="run each in ranks that have run a test before")
    parser.add_argument("--hosts", type=int, choices=[2], default=0, help="run them on 4 ranks over two hosts")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything there")
    chosen = parser.parse_args(arguments)
    known = (*catalogue(), *network_faults()) if chosen.hosts else catalogue()
    faults = tuple(fault for fault in known if fnmatch.fnmatchcase(fault.name, chosen.only))
    if chosen.hosts:
        if chosen.upstream or chosen.reuse_ranks:
            parser.error("--hosts cannot be combined with --upstream or --reuse-ranks")
        if why_not := reason_not_to_make():
            parser.error(f"--hosts: {why_not}")
        faults = tuple(expected_of_hosts(fault) for fault in faults if fault.theme in THEMES_OF_HOSTS)
    if not faults:
        parser.error(f"--only: no fault has a name like {chosen.only!r}")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {chosen.json.absolute().parent}")
    return Options(faults, chosen.upstream, chosen.reuse_ranks, chosen.hosts, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
