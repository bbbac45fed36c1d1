"""From runs to results: medians, ratios, growth, targets; as plain data for JSON and as text for readers."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from bench.measure import Run
from bench.memory import IdleMemory
from bench.plan import Case


@dataclass(frozen=True)
class CaseResult:
    """All runs of one case."""

    case: Case  # what was run
    runs: dict[str, list[Run]]  # for each contender's name, its runs in order

    def problem(self, contender: str) -> str:
        """Why `contender` has no time, in one line; empty where every run counts."""
        return next((run.problem for run in self.runs.get(contender, []) if run.problem), "")

    def median(self, contender: str) -> float | None:
        """Seconds; None where the contender did not run, or where any of its runs failed."""
        runs = self.runs.get(contender, [])
        if not runs or self.problem(contender):
            return None
        return statistics.median(run.seconds for run in runs)


def ratio(result: CaseResult, above: str, below: str) -> float | None:
    """Median of `above` over median of `below`; None where either is missing."""
    dividend, divisor = result.median(above), result.median(below)
    return dividend / divisor if dividend is not None and divisor is not None else None


@dataclass(frozen=True)
class Target:
    """A number that the harness is to reach."""

    name: str  # what it is about
    limit: float  # the number
    at_most: bool  # it is an upper limit; otherwise a lower one
    value: float | None  # what was measured; None where it was not

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        is_met = self.value <= self.limit if self.at_most else self.value >= self.limit
        return "met" if is_met else "MISSED"


def check_targets(results: list[CaseResult], *, quick: bool) -> list[Target]:
    """The targets with what was measured. A quick run has smaller cases and measures none of them."""
    by_part = (
        {} if quick else {result.case.part: result for result in results if result.case.part in ("ported", "tiny")}
    )

    def measured(part: str, above: str, below: str) -> float | None:
        return ratio(by_part[part], above, below) if part in by_part else None

    def further(name: str) -> float | None:
        """By the row with most tests."""
        rows = [row for row in _growth(results) if row["ranks"] == 4 and not quick]
        return rows[-1].get(name) if rows else None

    widest = [r for r in results if r.case.ranks == 64 and r.runs.get("ours") and not quick]
    passes = float(all(not r.problem("ours") for r in widest)) if widest else None
    return [
        Target("ported test: ours / floor", 1.25, True, measured("ported", "ours", "floor")),
        Target("ported test: upstream / ours", 4.0, False, measured("ported", "upstream", "ours")),
        Target("tiny tests: ours / floor", 1.25, True, measured("tiny", "ours", "floor")),
        Target("tiny tests: upstream / ours", 30.0, False, measured("tiny", "upstream", "ours")),
        Target("tiny tests: continuous / ours", 3.0, False, measured("tiny", "continuous", "ours")),
        Target("tiny tests: continuous / reused", 4.0, False, measured("tiny", "continuous", "reused")),
        Target("tiny tests: upstream / reused", 45.0, False, measured("tiny", "upstream", "reused")),
        Target("one more tiny test on 4 ranks, s", 0.045, True, further("ours")),
        Target("one more tiny test on 4 reused ranks, s", 0.02, True, further("reused")),
        Target("64 ranks pass (1 = yes)", 1.0, False, passes),
    ]


def _growth(results: list[CaseResult]) -> list[dict[str, Any]]:
    """For each number of ranks that was run with several numbers of tests: the cost of one more test, in seconds."""
    rows = []
    growing = [result for result in results if result.case.part == "growth"]
    for ranks in sorted({result.case.ranks for result in growing}):
        sizes = sorted((r for r in growing if r.case.ranks == ranks), key=lambda r: r.case.tests)
        for few, many in pairwise(sizes):
            more = many.case.tests - few.case.tests
            row: dict[str, Any] = {"ranks": ranks, "from_tests": few.case.tests, "to_tests": many.case.tests}
            for name in few.runs:
                low, high = few.median(name), many.median(name)
                row[name] = (high - low) / more if low is not None and high is not None else None
            rows.append(row)
    return rows


def as_data(
    machine: dict[str, Any],
    results: list[CaseResult],
    memory: dict[str, list[IdleMemory]],
    targets: list[Target],
) -> dict[str, Any]:
    """Everything that was measured, as what JSON can hold."""
    return {
        "machine": machine,
        "cases": [_case_data(result) for result in results],
        "seconds_per_further_test": _growth(results),
        "idle_memory": {name: [asdict(one) for one in of_name] for name, of_name in memory.items()},
        "targets": [{**asdict(target), "verdict": target.verdict} for target in targets],
    }


def _case_data(result: CaseResult) -> dict[str, Any]:
    contenders = {
        name: {
            "status": "failed" if result.problem(name) else "passed",
            "seconds": [round(run.seconds, 4) for run in runs if not run.problem],
            "median": result.median(name),
            "problem": result.problem(name),
            "tail": next((run.tail for run in runs if run.problem), ""),
        }
        for name, runs in result.runs.items()
    }
    ratios = {f"{name}/floor": ratio(result, name, "floor") for name in result.runs if name != "floor"}
    ratios.update(
        {f"{name}/ours": ratio(result, name, "ours") for name in result.runs if name not in ("floor", "ours")}
    )
    return {
        "case": result.case.name,
        "part": result.case.part,
        "tests": result.case.tests,
        "ranks": result.case.ranks,
        "contenders": contenders,
        "ratios": ratios,
    }
