"""The report for readers: lines of text made from what `bench.report` gives as data."""

from __future__ import annotations

from typing import Any


def format_report(data: dict[str, Any]) -> str:
    """All tables, with the machine above them."""
    blocks = [_machine(data["machine"]), _cases(data["cases"])]
    if data["seconds_per_further_test"]:
        blocks.append(_growth(data["seconds_per_further_test"]))
    if data["idle_memory"]:
        blocks.append(_memory(data["idle_memory"]))
    after = data.get("milliseconds_after_a_reused_test") or {}
    blocks += [f"after each test in a reused rank, {name}: {taken} ms" for name, taken in after.items()]
    blocks += [_targets(data["targets"]), _failures(data)]
    return "\n\n".join(block for block in blocks if block)


def _machine(machine: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in machine.items())


def _cases(cases: list[dict[str, Any]]) -> str:
    header = ["whole process", "contender", "median s", "runs s", "x floor", "x ours"]
    rows = [_case_row(case, name, result) for case in cases for name, result in case["contenders"].items()]
    return aligned([header, *rows]) if rows else ""


def _case_row(case: dict[str, Any], name: str, result: dict[str, Any]) -> list[str]:
    if result["status"] != "passed":
        return [case["case"], name, "FAILED", "", "", ""]
    runs = " ".join(f"{seconds:.2f}" for seconds in result["seconds"])
    ratios = [number(case["ratios"].get(f"{name}/{other}")) for other in ("floor", "ours")]
    return [case["case"], name, number(result["median"]), runs, *ratios]


def _growth(rows: list[dict[str, Any]]) -> str:
    names = [name for name in rows[0] if name not in ("ranks", "from_tests", "to_tests")]
    header = ["one more test, s", "tests", *names]
    lines = [
        [f"{row['ranks']} ranks", f"{row['from_tests']} to {row['to_tests']}", *(number(row[n], 3) for n in names)]
        for row in rows
    ]
    return aligned([header, *lines])


def _memory(memory: dict[str, list[dict[str, Any]]]) -> str:
    header = ["idle ranks, MiB", "contender", "PSS per rank", "private per rank", "PSS of all"]
    rows = []
    for name, of_name in memory.items():
        for one in of_name:
            sizes = ("rank_pss_mib", "rank_private_mib", "total_pss_mib")
            cells = ["FAILED", "", ""] if one["problem"] else [number(one[size], 1) for size in sizes]
            rows.append([f"{one['ranks']} ranks", name, *cells])
    return aligned([header, *rows])


def _targets(targets: list[dict[str, Any]]) -> str:
    rows = [
        [t["name"], f"{'<=' if t['at_most'] else '>='} {t['limit']:g}", number(t["value"]), t["verdict"]]
        for t in targets
    ]
    return aligned([["target", "limit", "measured", ""], *rows])


def _failures(data: dict[str, Any]) -> str:
    failed = [
        f"{case['case']}, {name}: {result['problem']}\n{result['tail']}"
        for case in data["cases"]
        for name, result in case["contenders"].items()
        if result["status"] != "passed"
    ]
    failed += [
        f"memory, {name}, {one['ranks']} ranks: {one['problem']}"
        for name, of_name in data["idle_memory"].items()
        for one in of_name
        if one["problem"]
    ]
    return "\n".join(failed)


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
