"""Whether the rows of a test are as they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch_testing_shim.conformance._outcomes import Kind, Outcome, Row


def lost_rows(rows: Sequence[Row], check: str, names: Sequence[str]) -> list[Row]:
    """Return the rows of a test that no rank has told, given those that were told and the names of all."""
    told = {row.name for row in rows}
    return [
        Row(check, name, Outcome(Kind.LOST, "its ranks ended without a word")) for name in names if name not in told
    ]


def verdict_text(rows: Sequence[Row], known: Mapping[str, str]) -> str | None:
    """Return what is wrong with the rows of one test; None where nothing is.

    Args:
        rows: the rows.
        known: full name of a row that is known to be bad -> how its outcome begins. A row that does not end so is
            wrong too, so that a gap that has closed is noticed.
    """
    lines = [line for line in (_complaint(row, known.get(row.full_name)) for row in rows) if line is not None]
    if not lines:
        return None
    return "\n".join([f"{len(lines)} of {len(rows)} rows are not as they should be", *lines])


def _complaint(row: Row, expected: str | None) -> str | None:
    found = str(row.outcome)
    if expected is not None and row.outcome.kind is not Kind.NOT_HERE:
        return None if found.startswith(expected) else f"{row.full_name}: {found}, though known as {expected!r}"
    return f"{row.full_name}: {found}" if row.outcome.kind.is_bad else None
