"""Times 20 tiny tests on 4 ranks over two hosts, beside the same on one machine, and how soon faults are told there.

    python test/benchmarks/bench_hosts.py            three times, medians; as root, with Debian's iproute2
    python test/benchmarks/bench_hosts.py --quick    two tests, once, and one fault; to see that it works
    python test/benchmarks/bench_hosts.py --json results.json

The hosts are network namespaces of this machine, with torchrun in each. A whole process is timed from its start to its
exit; of the start, each process that torchrun starts pays an import of torch. A test is timed in the journal. Exit
status: 0 where every test passed and every fault was told right, 1 where not, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.options import as_count, as_json_file
from bench.plan import TINY
from bench.table import aligned, number
from bench_harness import describe_machine
from bench_runner import ROOT

sys.path += [str(ROOT / "test" / "conformance"), str(ROOT / "test" / "shim")]

from faults.catalogue import catalogue, network_faults
from faults.judgement import Judgement, judge
from faults.over_hosts import LIMIT_OVER_HOSTS, deadline_over_hosts, run_over_hosts
from faults.roles import expected_of_hosts
from hosts import Hosts, reason_not_to_make

from torch_testing_shim._shared.journal_reading import read_journal

RANKS = 4
LIMIT_SECONDS = 600.0
#: One fault of each kind.
KINDS = (
    "exceptions: exception",
    "skips: one rank skips while others wait",
    "deaths: sys exit 3",
    "deaths: sigkill",
    "network: host killed",
    "hangs: misses a collective",
    "network: host cut off",
)


@dataclass(frozen=True)
class Timed:
    """One run."""

    whole: float  # seconds from the start of its processes to the exit of the last one
    test: float = 0.0  # seconds from the end of one test to that of the next, the median
    problem: str = ""  # why these do not count; empty where every test passed on all ranks


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    tests, repeats = (2, 1) if options.quick else (20, options.repeats)
    machine = describe_machine(argparse.Namespace(repeats=repeats, quick=options.quick))
    runs: dict[str, list[Timed]] = {title: [] for title in WAYS}
    for _ in range(repeats):
        for title, commands in WAYS.items():
            runs[title].append(timed(commands, tests))
            print(f"{title}: {runs[title][-1].problem or f'{runs[title][-1].whole:.2f} s'}", file=sys.stderr)
    judgements = judged(KINDS[:1] if options.quick else KINDS)
    print(f"{tests} tests on {RANKS} ranks, load average before: {machine['load average before']}")
    print(table_of_ways(runs))
    print(table_of_faults(judgements))
    if options.json is not None:
        faults = {one.fault.name: [one.seconds, one.past_deadline] for one in judgements}
        ways = {title: [vars(run) for run in of_way] for title, of_way in runs.items()}
        options.json.write_text(json.dumps({"machine": machine, "runs": ways, "faults": faults}, indent=2) + "\n")
    wrong = [run.problem for of_way in runs.values() for run in of_way if run.problem]
    wrong += [f"{one.fault.name}: {words}" for one in judgements for _, words in one.wrongs]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=as_count, default=3, help="runs of each way (default 3)")
    parser.add_argument("--quick", action="store_true", help="two tests, once, and one fault")
    parser.add_argument("--json", type=as_json_file, metavar="PATH", help="write all numbers there")
    options = parser.parse_args(arguments)
    if why_not := reason_not_to_make():
        parser.error(why_not)
    return options


def forked(stack: ExitStack, sample: Path) -> list[list[str]]:
    return [[sys.executable, str(sample)]]


def on_one_machine(stack: ExitStack, sample: Path) -> list[list[str]]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    return [[*torchrun, str(sample)]]


def over_two_hosts(stack: ExitStack, sample: Path) -> list[list[str]]:
    hosts = stack.enter_context(Hosts(2))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--nproc-per-node={RANKS // 2}"]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint={hosts.address(0)}:29511", "--rdzv-id=bench"]
    own = [[f"--rdzv-conf=is_host={n == 0}", f"--local-addr={hosts.address(n)}"] for n in range(2)]
    return [hosts.command(n, ["env", "GLOO_SOCKET_IFNAME=cable", *torchrun, *own[n], str(sample)]) for n in range(2)]


WAYS = {
    "python FILE, ranks are forked": forked,
    "torchrun on one machine": on_one_machine,
    "torchrun on two hosts": over_two_hosts,
}


def timed(commands: Callable[[ExitStack, Path], list[list[str]]], tests: int) -> Timed:
    """Run the tiny tests by these commands, all at once."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-hosts-")))
        outer = ("TORCH_TESTING_SHIM_", "WORLD_SIZE", "COVERAGE_")  # a run that this benchmark may be part of
        environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)} | {
            "BENCH_TESTS": str(tests),
            "BENCH_RANKS": str(RANKS),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder),
            "OMP_NUM_THREADS": "1",
            "TORCH_TESTING_SHIM_DEVICE": "cpu",
            "TORCH_TESTING_SHIM_JOURNAL": str(folder / "journal"),
        }
        words, output = commands(stack, TINY), stack.enter_context((folder / "output").open("w"))
        began = time.perf_counter()
        processes = [subprocess.Popen(one, env=environment, stdout=output, stderr=output) for one in words]
        codes = [process.wait(LIMIT_SECONDS) for process in processes]
        whole = time.perf_counter() - began
        entries = read_journal(folder / "journal").entries
        passed = [entry for entry in entries if [rank.status for rank in entry.ranks] == ["passed"] * RANKS]
        if any(codes) or len(passed) != tests:
            return Timed(whole, problem=f"exit codes {codes}, {len(passed)} tests passed: {folder_tail(folder)}")
    ends = [entry.started_at + entry.seconds for entry in entries]
    return Timed(whole, statistics.median(after - before for before, after in pairwise(ends)))


def folder_tail(folder: Path) -> str:
    return (folder / "output").read_text(errors="replace")[-2000:]


def judged(names: Sequence[str]) -> list[Judgement]:
    """Run the faults of these names over two hosts, one after the other."""
    faults = {fault.name: expected_of_hosts(fault) for fault in (*catalogue(), *network_faults())}
    found = []
    for fault in [faults[name] for name in names]:
        seen = run_over_hosts([fault]).get(fault.test)
        found.append(judge(fault, seen, deadline_over_hosts(fault), LIMIT_OVER_HOSTS))
    return found


def table_of_ways(runs: dict[str, list[Timed]]) -> str:
    rows = [["", "whole process, median s", "runs s", "each further test, median s"]]
    for title, of_way in runs.items():
        each = " ".join("FAILED" if run.problem else f"{run.whole:.2f}" for run in of_way)
        medians = [statistics.median(times) for times in zip(*((r.whole, r.test) for r in of_way), strict=True)]
        rows.append([title, number(medians[0]), each, f"{medians[1]:.3f}"])
    return aligned(rows)


def table_of_faults(judgements: Sequence[Judgement]) -> str:
    rows = [["fault over two hosts", "s to the verdict and the end of all", "s past the deadline"]]
    for one in judgements:
        rows.append([one.fault.name, "WRONG" if one.wrongs else number(one.seconds), number(one.past_deadline)])
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(main())
