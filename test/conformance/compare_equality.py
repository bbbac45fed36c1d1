"""Compares what equals what: this package's `assertEqual` beside that of the installed torch's private harness.

    python test/conformance/compare_equality.py             all pairs of kinds of values, in both orders, and options
    python test/conformance/compare_equality.py --record    the same, and writes test/conformance/equality_table.txt

Each side is measured in a process of its own. It prints each pair that compares otherwise than in upstream without a
known reason, each that depends on its order here, and how many differ for which reason. Exit status: 0 where every
difference has its reason and the table holds, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections import Counter

from equality_table import REASONS, TABLE, all_pairs, outcome, reason_for, table_text

SIDES = {"ours": "torch_testing_shim.common_utils", "upstream": "torch.testing._internal.common_utils"}


def measure(side: str) -> None:
    """Print the outcomes of all pairs as JSON, in the order of `all_pairs`: two letters each, for both orders."""
    import importlib

    import torch.distributed as dist

    warnings.simplefilter("ignore")
    case = importlib.import_module(SIDES[side]).TestCase()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    both = [
        "".join(outcome(case.assertEqual, pair, swapped=swapped) for swapped in (False, True)) for pair in all_pairs()
    ]
    dist.destroy_process_group()
    print(json.dumps(both))


def measured(side: str) -> list[str]:
    """The same, from another process."""
    command = [sys.executable, __file__, "--measure", side]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return list(json.loads(lines[-1]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the table")
    parser.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measure(options.measure)
        return 0
    cells, problems = {}, []
    counts = Counter[str]()
    for pair, ours, upstream in zip(all_pairs(), measured("ours"), measured("upstream"), strict=True):
        where = f"{pair[0]} and {pair[1]}" if pair[1] else pair[0]
        if ours[0] != ours[1]:
            problems.append(f"{where}: depends here on the order: {ours}")
        reason = reason_for(pair, ours[0], upstream[0])
        if ours[0] != upstream[0] and reason is None:
            problems.append(f"{where}: ours {ours[0]}, upstream {upstream[0]}")
        cells[pair] = reason.letter if reason is not None else ours[0]
        counts[cells[pair]] += 1
    text = table_text(cells)
    if options.record and not problems:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        problems.append(f"{TABLE.name} is out of date: --record writes it")
    print(*problems, sep="\n", end="\n" if problems else "")
    for reason in REASONS:
        print(f"{counts[reason.letter]:6} x ours {reason.ours}, upstream {reason.upstream}: {reason.why}")
    print(f"{sum(counts[cell] for cell in '=.E'):6} of {counts.total()} pairs compare as in upstream")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
