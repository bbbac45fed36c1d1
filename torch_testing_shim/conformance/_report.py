"""The report on a storage, and the table of torch's own round trips: rows in, Markdown out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch_testing_shim.conformance._fault_steps import DEATHS, FAILURES
from torch_testing_shim.conformance._outcomes import Kind, Row

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_ROUND_TRIP = "round trip of "
#: Names of the checks whose saves are struck.
_STRUCK = [check.name for check in (*FAILURES, *DEATHS)]


@dataclass(frozen=True)
class Subject:
    """The subject of a report: the storage, and the machine.

    Attributes:
        title: names of the writer and the reader.
        where: versions and device, in one line.
        command: the command that makes the report.
    """

    title: str
    where: str
    command: str


def storage_report(subject: Subject, rows: Sequence[Row], unended: Sequence[str]) -> str:
    """Return what holds and what does not.

    Args:
        subject: what was tested.
        rows: the rows that ended.
        unended: full names of rows that did not, because a rank died or hung.
    """
    counts = {check: Counter(row.outcome.kind for row in rows if row.check == check) for check in _checks(rows)}
    lines = [
        f"# {subject.title}: checkpoint conformance",
        "",
        f"{subject.where}. Made by `{subject.command}`.",
        "",
        "| check | holds | does not hold | torch's own gaps | not here |",
        "| --- | --- | --- | --- | --- |",
        *(_count_line(check, count) for check, count in counts.items()),
        *_section("Does not hold", [_reason(row) for row in rows if row.outcome.kind.is_bad]),
        *_section("Did not end", [f"* {name}" for name in unended]),
        *_section("Left by a save that is struck", _struck_table(rows)),
        *_section("Fails with torch's own FileSystemWriter too", [_reason(row) for row in _of_kind(rows, Kind.TORCHS)]),
        *_section("Not here", _missing(row for row in _of_kind(rows, Kind.NOT_HERE) if row.check not in _STRUCK)),
    ]
    return "\n".join(lines) + "\n"


def checkpoint_table(subject: Subject, rows: Sequence[Row]) -> str:
    """Return the table of round trips: a line for each strategy and optimizer, a column for each pair of ranks."""
    trips = [_Trip.of(row) for row in rows if row.check.startswith(_ROUND_TRIP)]
    pairs = list(dict.fromkeys(trip.ranks for trip in trips))
    cells = {(trip.strategy, trip.optimizer, trip.ranks): trip.row.outcome.kind for trip in trips}
    kinds = dict.fromkeys((trip.strategy, trip.optimizer) for trip in trips)
    lines = [
        f"# Checkpoint table: {subject.title}",
        "",
        f"{subject.where}. Made by `{subject.command}`. A column is the number of ranks that save -> that load.",
        "",
        f"| strategy | optimizer | {' | '.join(pairs)} |",
        f"| --- | --- |{' --- |' * len(pairs)}",
        *(f"| {' | '.join([*kind, *(_cell(cells.get((*kind, pair))) for pair in pairs)])} |" for kind in kinds),
        *_section("Refuses or WRONG", [_reason(trip.row) for trip in trips if trip.row.outcome.kind.is_bad]),
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Trip:
    strategy: str
    optimizer: str
    ranks: str
    row: Row

    @classmethod
    def of(cls, row: Row) -> _Trip:
        optimizer, ranks, *more = row.name.split(", ")
        return cls(row.check.removeprefix(_ROUND_TRIP), ", ".join([optimizer, *more]), ranks, row)


def _cell(kind: Kind | None) -> str:
    return "" if kind is None else "-" if kind is Kind.NOT_HERE else kind.value


def _checks(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.check for row in rows))


def _count_line(check: str, count: Counter[Kind]) -> str:
    bad = sum(number for kind, number in count.items() if kind.is_bad)
    return f"| {check} | {count[Kind.OK]} | {bad} | {count[Kind.TORCHS]} | {count[Kind.NOT_HERE]} |"


def _of_kind(rows: Iterable[Row], kind: Kind) -> list[Row]:
    return [row for row in rows if row.outcome.kind is kind]


def _missing(rows: Iterable[Row]) -> list[str]:
    """Return a line for each reason that a check has, and the number of its rows."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.check, row.outcome.text), []).append(row)
    return [
        _reason(group[0]) if len(group) == 1 else f"* {check}, {len(group)} rows: {text}"
        for (check, text), group in alike.items()
    ]


def _struck_table(rows: Sequence[Row]) -> list[str]:
    """Return the table of saves that are struck: a line for each step, and what it left."""
    struck = [row for row in rows if row.check in _STRUCK]
    checks = [check for check in _STRUCK if any(row.check == check for row in struck)]
    cells = {(row.check, _step(row)): _left(row) for row in struck}
    steps = dict.fromkeys(step for _, step in cells)
    if not struck:
        return []
    return [
        f"| step | {' | '.join(checks)} |",
        f"| --- |{' --- |' * len(checks)}",
        *(f"| {step} | {' | '.join(cells.get((check, step), '') for check in checks)} |" for step in steps),
    ]


def _step(row: Row) -> str:
    """Return "rank 1 at its 2nd write" of "kill rank 1 at its 2nd write"."""
    return row.name.partition(" ")[2]


def _left(row: Row) -> str:
    """Return "old", "new", "refuses" or "MIXED"; "-" where there is no such step."""
    if row.outcome.kind is Kind.OK:
        return row.outcome.text.partition(":")[0]
    return "MIXED" if "MIXED" in row.outcome.text else _cell(row.outcome.kind)


def _reason(row: Row) -> str:
    told = row.outcome.text if row.outcome.kind in (Kind.TORCHS, Kind.NOT_HERE) else str(row.outcome)
    return f"* {row.full_name}: {told}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []
