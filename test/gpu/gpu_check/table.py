"""The rows as text, for people. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from gpu_check.row import Row, Verdict

_HEADER = ("what", "expected", "seen", "s", "")
#: How wide the columns of words may become; longer words are cut.
_WIDEST = (44, 40, 60)


def format_line(row: Row) -> str:
    """A row by itself, as it is told while the checks run."""
    return f"{row.verdict.value}  {row.what}: {row.seen}"


def format_table(machine: Sequence[str], rows: Sequence[Row], seconds: float) -> str:
    """The whole report: the machine, the table, what failed in full, what could not be tried, the sum.

    Args:
        machine: what is to be said of the machine, a line each.
        rows: in their order.
        seconds: how long it all took.
    """
    blocks = ["\n".join(machine), _table(rows), *(_detail(row) for row in rows if row.detail), _not_tried(rows)]
    counts = Counter(row.verdict for row in rows)
    summary = ", ".join(f"{counts[verdict]} {verdict.value.lower()}" for verdict in Verdict)
    return "\n\n".join(block for block in [*blocks, f"{summary} in {seconds:.0f} s"] if block)


def _table(rows: Sequence[Row]) -> str:
    lines = [_HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    words = (" ".join(text.split()) for text in (row.what, row.expected, row.seen))
    cut = (
        text if len(text) <= widest else f"{text[: widest - 3]}..." for text, widest in zip(words, _WIDEST, strict=True)
    )
    return (*cut, "" if row.seconds is None else f"{row.seconds:.1f}", row.verdict.value)


def _detail(row: Row) -> str:
    return f"{row.verdict.value}: {row.what}\n{textwrap.indent(row.detail.rstrip(), '    ')}"


def _not_tried(rows: Sequence[Row]) -> str:
    missing = [row for row in rows if row.verdict is Verdict.NOT_TRIED]
    return "\n".join(["could not be tried:", *(f"    {row.what}: {row.seen}" for row in missing)]) if missing else ""
