"""Times whole pytest processes: function tests on ranks by this package's plugin, and as people write them without it.

    python test/benchmarks/bench_pytest.py                   20 tests on 4 ranks, three times, medians
    python test/benchmarks/bench_pytest.py --quick           a short run, to see that it works; measures no target
    python test/benchmarks/bench_pytest.py --ways floor ours --json results.json

The floor is a bare fork loop (`bench/bare.py`) and, added to it, pytest's own process with as many empty tests. Within
each repeat the ways take turns. Exit status: 0 where every rank of every way passed every test, 1 where one did not, 2
for wrong usage. A missed target does not change it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import sentinel
from bench.measure import Run, run_case
from bench.options import as_count, as_json_file
from bench.plan import CONTENDERS, TINY, Case
from bench.table import aligned, number
from bench_harness import describe_machine
from bench_runner import ROOT, Way, exit_status, median, ratio, run_in_turns, seconds_of, timed

SOURCES = Path(__file__).parent / "cases" / "pytest"
PLUGIN = ("-p", "torch_testing_shim.pytest_plugin")
#: The most that `ours` may be, in floors.
TARGET = 1.25


@dataclass(frozen=True)
class Sizes:
    """How many tests run, on how many ranks each."""

    tests: int
    ranks: int


def by_pytest(source: str, *options: str) -> Callable[[Sizes], Run]:
    """A file of `SOURCES`, by pytest."""

    def run(sizes: Sizes) -> Run:
        with tempfile.TemporaryDirectory(prefix="bench-pytest-") as folder:
            tree = Path(folder)
            sentinels = tree / "sentinels"
            sentinels.mkdir()
            shutil.copy(SOURCES / f"{source}.py", tree / "test_sample.py")
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_sample.py"]
            variables = {
                "BENCH_TESTS": str(sizes.tests),
                "BENCH_RANKS": str(sizes.ranks),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                sentinel.FOLDER: str(sentinels),
            }
            done = timed(command, tree, variables, rf"{sizes.tests} passed in .*")
            bodies, expected = len(sentinel.found(sentinels)), sizes.tests * sizes.ranks
            if not done.problem and source != "empty" and bodies != expected:
                return Run(done.seconds, f"{bodies} bodies came to their end instead of {expected}")
            return done

    return run


def floor(sizes: Sizes) -> Run:
    """The bare loop, and pytest's own process added to it."""
    bare = run_case(Case("tiny", "tiny", TINY, sizes.tests, sizes.ranks), CONTENDERS[0])
    start = by_pytest("empty")(sizes)
    return Run(bare.seconds + start.seconds, bare.problem or start.problem, bare.tail or start.tail)


WAYS = (
    Way("floor", "bare fork loop + pytest's own start", floor),
    Way("ours", "@pytest.mark.ranks", by_pytest("ours", *PLUGIN)),
    Way("pool", "a pool for each test, as DeepSpeed's DistributedTest", by_pytest("pool")),
    Way("spawn", "torch.multiprocessing.spawn in each test", by_pytest("spawn")),
)


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    sizes = Sizes(2, 2) if options.quick else Sizes(20, 4)
    machine = describe_machine(argparse.Namespace(repeats=options.repeats, quick=options.quick))
    ways = [way for way in WAYS if way.name in options.ways]
    runs = run_in_turns(ways, sizes, 1 if options.quick else options.repeats)
    ratios = {way.name: {other: ratio(runs, way.name, other) for other in ("floor", "ours")} for way in ways}
    print(f"{sizes.tests} tests on {sizes.ranks} ranks, load average before: {machine['load average before']}")
    print(table(ways, runs, ratios))
    print(target_line(ratios.get("ours", {}).get("floor"), measures=not options.quick))
    if options.json is not None:
        of_ways = {name: [asdict(run) for run in of_way] for name, of_way in runs.items()}
        data = {"machine": machine, "sizes": asdict(sizes), "runs": of_ways, "ratios": ratios}
        options.json.write_text(json.dumps(data, indent=2) + "\n")
    return exit_status(runs)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [way.name for way in WAYS]
    parser.add_argument("--ways", nargs="+", choices=names, default=names, metavar="WAY", help=f"of {', '.join(names)}")
    parser.add_argument("--repeats", type=as_count, default=3, help="runs of each way (default 3)")
    parser.add_argument("--quick", action="store_true", help="two tests on two ranks, once; measures no target")
    parser.add_argument("--json", type=as_json_file, metavar="PATH", help="write all numbers there")
    return parser.parse_args(arguments)


def table(ways: Sequence[Way], runs: dict[str, list[Run]], ratios: dict[str, dict[str, float | None]]) -> str:
    rows = [["whole process", "median s", "x floor", "x ours", "runs s"]]
    for way in ways:
        times = [number(ratios[way.name][other]) for other in ("floor", "ours")]
        rows.append([way.title, number(median(runs, way.name)), *times, seconds_of(runs[way.name])])
    return aligned(rows)


def target_line(found: float | None, *, measures: bool) -> str:
    verdict = "not measured" if found is None or not measures else "met" if found <= TARGET else "MISSED"
    return f"ours / floor: {number(found)} (at most {TARGET:g}): {verdict}"


if __name__ == "__main__":
    sys.exit(main())
