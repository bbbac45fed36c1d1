"""Many tests on four ranks in one process, one in ten of them with a fault: is every verdict right, is nothing left,
and does the process hold as much at the end as near the beginning? Reused ranks have to as well, where none fails.

    python test/conformance/soak.py                  1,000 tests
    python test/conformance/soak.py --tests 60 --json soak.json
    python test/conformance/soak.py --reuse-ranks                the same in reused ranks
    python test/conformance/soak.py --reuse-ranks --no-faults    ranks that live from the first test to the last

The tests and faults are in `cases/soak.py` and `bench/faults.py`; what counts as flat, and why, in `bench/flatness.py`.
Exit status: 0 where all is well, 1 where anything is not, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from torch_testing_shim._shared.journal_reading import read_journal

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from bench.holdings import read_notes
from bench.measure import StartedCase, ends_within, started_case
from bench.plan import CONTENDERS, Case
from conform.flatness import Growth, growths, warm_up
from conform.leftovers import leftovers
from conform.soak_faults import WITHOUT_FAULTS, fault_of
from conform.soak_verdicts import wrong_verdicts

#: The case that is run.
SOAK = Path(__file__).with_name("soak_cases.py")

_RANKS = 4
#: A run needs two measurements after its warm-up, which are ten tests apart.
_FEWEST_TESTS = 40
#: Seconds that a test may take on average before the run is given up; a tenth is usual.
_SECONDS_A_TEST = 5.0
_BYTES_PER_MIB = 1024.0 * 1024.0


@dataclass(frozen=True)
class SoakResult:
    """The findings of a soak."""

    tests: int  # how many tests there were
    seconds: float  # wall time
    statuses: dict[str, int]  # how many tests ended how
    growths: tuple[Growth, ...]  # how what the processes hold went
    problems: tuple[str, ...]  # all that is wrong, a line each


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=1000, help=f"how many tests, {_FEWEST_TESTS} at least")
    parser.add_argument("--reuse-ranks", action="store_true", help="tests run in the ranks of the one before")
    parser.add_argument("--no-faults", action="store_true", help="all tests pass; reused ranks are measured too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers there")
    chosen = parser.parse_args(arguments)
    if chosen.tests < _FEWEST_TESTS:
        parser.error(f"--tests is {chosen.tests}; it must be at least {_FEWEST_TESTS}")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {chosen.json.absolute().parent}")
    result = soak(chosen.tests, reuse_ranks=chosen.reuse_ranks, with_faults=not chosen.no_faults)
    print(format_result(result))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return 1 if result.problems else 0


def soak(tests: int, source: Path = SOAK, *, reuse_ranks: bool = False, with_faults: bool = True) -> SoakResult:
    """Run the case and judge it.

    Args:
        tests: how many tests.
        source: the case's file.
        reuse_ranks: ranks are reused.
        with_faults: one test in ten has a fault.
    """
    variables = {} if with_faults else {WITHOUT_FAULTS: "1"}
    case = Case("soak", "soak", source, tests=tests, ranks=_RANKS, journaled=True, variables=variables)
    (ours,) = (found for found in CONTENDERS if found.name == ("reused" if reuse_ranks else "ours"))
    with started_case(case, ours) as started:
        if not ends_within(started.process, tests * _SECONDS_A_TEST):
            return SoakResult(tests, tests * _SECONDS_A_TEST, {}, (), ("it did not end in time",))
        seconds = time.perf_counter() - started.started
        return _judged(started, tests, seconds, with_faults=with_faults)


def _judged(started: StartedCase, tests: int, seconds: float, *, with_faults: bool) -> SoakResult:
    """Findings about a case that has ended, while its files are still there."""
    status = started.process.wait()
    journal = read_journal(started.journal)
    wanted = int(with_faults)
    problems = [] if status == wanted else [f"exit status {status} instead of {wanted}"]
    faults = fault_of if with_faults else lambda _: None
    problems += wrong_verdicts(journal, tests, _RANKS, started.sentinels, faults)
    problems += leftovers(started)
    try:
        notes = sorted(started.folder.glob("notes*"))  # of the controller, and of each reused rank
        found = [growth for path in notes for growth in growths(read_notes(path), tests)]
    except (OSError, ValueError) as error:
        found = []
        problems.append(f"nothing was measured: {error}")
    problems += [f"not flat: {_growth_text(growth)}" for growth in found if not growth.is_flat]
    if problems:
        problems.append(f"last output:\n{started.output.read_text(errors='replace')[-2000:]}")
    statuses = Counter(entry.status.value for entry in journal.entries)
    return SoakResult(tests, round(seconds, 1), dict(statuses), tuple(found), tuple(problems))


def format_result(result: SoakResult) -> str:
    """A short table, and what is wrong."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items()))
    lines = [f"{result.tests} tests on {_RANKS} ranks in {result.seconds:.0f} s: {counts}", ""]
    lines.append(f"{'':27}{'test ' + str(warm_up(result.tests)):>10}{'end':>10}{'a test':>12}")
    lines += [_growth_text(growth) for growth in result.growths if growth.what != "pid"]
    lines += ["", *(result.problems or ("every verdict right, all flat, nothing left",))]
    return "\n".join(lines)


def _growth_text(growth: Growth) -> str:
    name = f"{growth.role} {growth.what.replace('_', ' ')}"
    if growth.what in ("anonymous", "pss", "private_dirty"):
        first, last = (f"{size / _BYTES_PER_MIB:.1f} MiB" for size in (growth.first, growth.last))
        return f"{name:27}{first:>10}{last:>10}{growth.a_test:>10.0f} B"
    return f"{name:27}{growth.first:>10}{growth.last:>10}{growth.a_test:>12.3g}"


if __name__ == "__main__":
    sys.exit(main())
