"""Times run_test.py as whole processes: warm and cold, one and two files at a time, beside files run one by one.

    python test/benchmarks/bench_runner.py                   20 files of 5 tiny tests on 4 ranks, three times, medians
    python test/benchmarks/bench_runner.py --quick           a short run, to see that it works; measures no target
    python test/benchmarks/bench_runner.py --ways warm cold --json results.json

Within each repeat the ways take turns, so what else the machine does hits all alike. PyTorch's own harness takes
minutes for a few files, so it runs `--upstream-files` of them, and its time is scaled to all. How long the runner takes
to choose among 2,000 files is timed by bench/choice.py, whose lines come last. Exit status: 0 where every way passed
every test that it ran, 1 where one did not, 2 for wrong usage. Missed targets do not change it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.choice import measure_choices
from bench.measure import Run, run_case
from bench.options import as_count, as_json_file
from bench.plan import CONTENDERS, TINY, Case
from bench.table import aligned, number
from bench_harness import describe_machine

ROOT = Path(__file__).resolve().parents[2]
#: How long one way may take, in seconds: cold, 20 files need a minute on two cores.
LIMIT_SECONDS = 1800.0
#: The least that each ratio is to be.
TARGETS = {("cold", "warm"): 4.0, ("warm", "warm -j2"): 1.0}


@dataclass(frozen=True)
class Sizes:
    """What runs: so many files, of so many tests each, on so many ranks; and how many of them on upstream's harness."""

    files: int
    tests: int
    ranks: int
    upstream_files: int


@dataclass(frozen=True)
class Way:
    """One way to run the tests, of the sizes that its benchmark has."""

    name: str
    title: str
    run: Callable[[Any], Run]


def run_in_turns(ways: Sequence[Way], sizes: object, repeats: int) -> dict[str, list[Run]]:
    """The runs of each way; one that has failed does not run again."""
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    for repeat in range(repeats):
        for way in ways:
            if not any(run.problem for run in runs[way.name]):
                runs[way.name].append(last := way.run(sizes))
                print(f"[{repeat + 1}] {way.title}: {last.problem or f'{last.seconds:.2f} s'}", file=sys.stderr)
    return runs


def exit_status(runs: dict[str, list[Run]]) -> int:
    failed = {name: run for name, of_way in runs.items() for run in of_way if run.problem}
    for name, run in failed.items():
        print(f"{name}: {run.problem}\n{run.tail}", file=sys.stderr)
    return 1 if failed else 0


def seconds_of(runs: Sequence[Run]) -> str:
    return " ".join("FAILED" if run.problem else f"{run.seconds:.2f}" for run in runs)


def through_runner(*arguments: str) -> Callable[[Sizes], Run]:
    """By run_test.py, in a tree of its own."""

    def run(sizes: Sizes) -> Run:
        with tempfile.TemporaryDirectory(prefix="bench-runner-") as folder:
            tree = Path(folder)
            shutil.copy(ROOT / "run_test.py", tree)
            (tree / "torch_testing_shim").symlink_to(ROOT / "torch_testing_shim")
            (tree / "test").mkdir()
            for number in range(sizes.files):
                shutil.copy(TINY, tree / "test" / f"test_{number:02}.py")
            command = [sys.executable, str(tree / "run_test.py"), "--keep-going", *arguments]
            variables = {"BENCH_TESTS": str(sizes.tests), "BENCH_RANKS": str(sizes.ranks)}
            return timed(command, tree, variables, f"{sizes.files * sizes.tests} passed, 0 failed, 0 skipped")

    return run


def timed(command: Sequence[str], tree: Path, variables: dict[str, str], expected: str) -> Run:
    """Run a command whose last line has to be `expected`, a regular expression."""
    outer = ("TORCH_TESTING_SHIM_", "WORLD_SIZE", "COVERAGE_")  # a run that this benchmark may be part of
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    environment |= {**variables, "TMPDIR": str(tree)}
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    seconds = time.perf_counter() - began
    lines = done.stdout.splitlines() or [""]
    if done.returncode or not re.fullmatch(expected, lines[-1]):
        return Run(seconds, f"exit status {done.returncode}, {lines[-1]!r}", (done.stdout + done.stderr)[-2000:])
    return Run(seconds)


def file_by_file(contender_name: str, count: Callable[[Sizes], int]) -> Callable[[Sizes], Run]:
    """By `python FILE`, one after the other; scaled to all files where only some of them run."""
    contender = next(one for one in CONTENDERS if one.name == contender_name)

    def run(sizes: Sizes) -> Run:
        case = Case("tiny", "tiny", TINY, sizes.tests, sizes.ranks)
        runs = [run_case(case, contender, LIMIT_SECONDS) for _ in range(count(sizes))]
        failed = [one for one in runs if one.problem]
        seconds = sum(one.seconds for one in runs) * sizes.files / len(runs)
        return Run(seconds, failed[0].problem, failed[0].tail) if failed else Run(seconds)

    return run


WAYS = (
    Way("warm", "run_test.py", through_runner()),
    Way("warm -j2", "run_test.py -j2", through_runner("-j2")),
    Way("cold", "run_test.py --cold", through_runner("--cold")),
    Way("cold -j2", "run_test.py --cold -j2", through_runner("--cold", "-j2")),
    Way("files", "python FILE for each", file_by_file("ours", lambda sizes: sizes.files)),
    Way(
        "upstream",
        "upstream's harness, python FILE for each, scaled",
        file_by_file("upstream", lambda s: s.upstream_files),
    ),
)


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    sizes = Sizes(2, 2, 4, 1) if options.quick else Sizes(20, 5, 4, options.upstream_files)
    ways = [way for way in WAYS if way.name in options.ways]
    runs = run_in_turns(ways, sizes, 1 if options.quick else options.repeats)
    choices = measure_choices(1) if options.quick else measure_choices()
    ratios = {f"{above} / {below}": ratio(runs, above, below) for above, below in TARGETS}
    print(table(ways, runs))
    print("\n".join(f"{line}" for line in target_lines(ratios, measures=not options.quick)))
    print("\n".join(map(str, choices)))
    if options.json is not None:
        machine = describe_machine(argparse.Namespace(repeats=options.repeats, quick=options.quick))
        data = {
            "machine": machine,
            "sizes": asdict(sizes),
            "runs": {name: [asdict(run) for run in of_way] for name, of_way in runs.items()},
            "ratios": ratios,
            "choices": [asdict(choice) for choice in choices],
        }
        options.json.write_text(json.dumps(data, indent=2) + "\n")
    return exit_status(runs)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [way.name for way in WAYS]
    parser.add_argument("--ways", nargs="+", choices=names, default=names, metavar="WAY", help=f"of {', '.join(names)}")
    parser.add_argument("--repeats", type=as_count, default=3, help="runs of each way (default 3)")
    parser.add_argument("--upstream-files", type=as_count, default=1, help="files on upstream's harness (default 1)")
    parser.add_argument("--quick", action="store_true", help="few small files, once; measures no target")
    parser.add_argument("--json", type=as_json_file, metavar="PATH", help="write all numbers there")
    return parser.parse_args(arguments)


def median(runs: dict[str, list[Run]], name: str) -> float | None:
    """Seconds; None where the way did not run, or failed."""
    of_way = runs.get(name, [])
    if not of_way or any(run.problem for run in of_way):
        return None
    return statistics.median(run.seconds for run in of_way)


def ratio(runs: dict[str, list[Run]], above: str, below: str) -> float | None:
    dividend, divisor = median(runs, above), median(runs, below)
    return dividend / divisor if dividend is not None and divisor is not None else None


def table(ways: Sequence[Way], runs: dict[str, list[Run]]) -> str:
    rows = [["way", "median s", "x warm", "runs s"]]
    for way in ways:
        seconds, times = median(runs, way.name), ratio(runs, way.name, "warm")
        rows.append([way.title, number(seconds), number(times), seconds_of(runs[way.name])])
    return aligned(rows)


def target_lines(ratios: dict[str, float | None], *, measures: bool) -> list[str]:
    """The aims, and whether they were reached."""
    lines = []
    for (above, below), least in TARGETS.items():
        found = ratios[f"{above} / {below}"]
        verdict = "not measured" if found is None or not measures else "met" if found >= least else "MISSED"
        lines.append(f"{above} / {below}: {number(found)} (at least {least:g}): {verdict}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
