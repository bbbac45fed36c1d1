"""Times this harness, PyTorch's, and a bare fork loop side by side, as whole processes.

    python test/benchmarks/bench_harness.py                     everything, three times, medians
    python test/benchmarks/bench_harness.py --quick             a short run, to see that it works
    python test/benchmarks/bench_harness.py --parts tiny growth --contenders floor ours --json results.json

Within each repeat the contenders take turns, so what else the machine does hits all alike. Exit status: 0 where every
contender passed every test that it ran, 1 where one did not, 2 for wrong usage. Missed targets do not change it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bench.measure import run_case
from bench.memory import IdleMemory, measure_idle
from bench.options import as_count, as_json_file
from bench.plan import CONTENDERS, PARTS, TINY, Case, Contender, select_cases
from bench.report import CaseResult, as_data, check_targets
from bench.reset import measure_reset
from bench.table import format_report

_MEMORY_RANKS = (4, 16, 64)
_MEMORY_CONTENDERS = ("floor", "ours")


@dataclass(frozen=True)
class Options:
    """The command line. `contenders` stand in the order in which they take turns."""

    contenders: tuple[Contender, ...]
    parts: tuple[str, ...]
    repeats: int
    quick: bool
    json_path: Path | None


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    machine = describe_machine(options)
    if not options.quick:
        warm_up(options)
    cases = select_cases(options.parts, quick=options.quick)
    results = [measure_case(case, options) for case in cases]
    memory = measure_memory(options) if "memory" in options.parts else {}
    data = as_data(machine, results, memory, check_targets(results, quick=options.quick))
    data["milliseconds_after_a_reused_test"] = measure_reset() if "reset" in options.parts else {}
    print(format_report(data))
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(data, indent=2) + "\n")
    failed = [result for result in results for name in result.runs if result.problem(name)]
    failed_memory = [one for of_name in memory.values() for one in of_name if one.problem]
    return 1 if failed or failed_memory else 0


def parse_options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--contenders", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--repeats", type=as_count, help="runs of each case on each contender (default 3, quick 1)")
    parser.add_argument("--quick", action="store_true", help="fewer tests and ranks; measures no target")
    parser.add_argument("--json", type=as_json_file, metavar="PATH", help="write all numbers there")
    chosen = parser.parse_args(arguments)
    repeats = chosen.repeats if chosen.repeats is not None else (1 if chosen.quick else 3)
    contenders = tuple(contender for contender in CONTENDERS if contender.name in chosen.contenders)
    return Options(contenders, tuple(chosen.parts), repeats, chosen.quick, chosen.json)


def describe_machine(options: Options) -> dict[str, object]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load average before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "commit": _commit(),
        "repeats": options.repeats,
        "quick": options.quick,
    }


def _commit() -> str:
    """The commit, with "+" where files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return "unknown"
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def warm_up(options: Options) -> None:
    """Run each contender once, untimed, so that the first one timed is not the one that reads torch from the disk."""
    case = Case("warm-up", "warm-up", TINY, tests=1, ranks=2)
    for contender in options.contenders:
        run_case(case, contender)


def measure_case(case: Case, options: Options) -> CaseResult:
    """Run `case` on its contenders, in turns. A contender that failed once is not run again."""
    taking_part = [contender for contender in options.contenders if contender.name in case.contenders]
    result = CaseResult(case, {contender.name: [] for contender in taking_part})
    for repeat in range(options.repeats):
        for contender in taking_part:
            if result.problem(contender.name):
                continue
            run = run_case(case, contender)
            outcome = f"FAILED: {run.problem}" if run.problem else f"{run.seconds:.2f} s"
            print(f"[{repeat + 1}/{options.repeats}] {case.name}, {contender.name}: {outcome}", file=sys.stderr)
            runs = {**result.runs, contender.name: [*result.runs[contender.name], run]}
            result = replace(result, runs=runs)
    return result


def measure_memory(options: Options) -> dict[str, list[IdleMemory]]:
    ranks = _MEMORY_RANKS[:1] if options.quick else _MEMORY_RANKS
    chosen = [contender for contender in options.contenders if contender.name in _MEMORY_CONTENDERS]
    return {contender.name: [measure_idle(contender, count) for count in ranks] for contender in chosen}


if __name__ == "__main__":
    sys.exit(main())
