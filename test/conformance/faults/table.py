"""The table of faults for people, and the same as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from faults.fault import Ending
from faults.judgement import Judgement, Wrong, blames_another, is_wrong_verdict
from faults.observe import Observation

_CAUSE_CHARACTERS = 78


def print_report(
    console: Console, judgements: Sequence[Judgement], upstream: Mapping[str, Observation] | None = None
) -> None:
    """Prints the table, then the counts, then what is wrong in full.

    Args:
        console: where to.
        judgements: of this harness, in the order of the rows.
        upstream: what became of the faults on upstream's harness, by test; None where it was not asked.
    """
    console.print(_table(judgements, upstream))
    for title, number in counts(judgements, upstream).items():
        console.print(f"{title}: {number}", highlight=False)
    for judgement in judgements:
        for wrong, words in judgement.wrongs:
            console.print(
                f"\n{judgement.fault.name}: {wrong.value}: {_printable(words)}", markup=False, highlight=False
            )


def counts(judgements: Sequence[Judgement], upstream: Mapping[str, Observation] | None = None) -> dict[str, int]:
    """How often each thing went wrong, how many faults were run, and how many cannot be had here."""
    wrongs = Counter(wrong for judgement in judgements for wrong in {wrong for wrong, _ in judgement.wrongs})
    found = {"faults": sum(judgement.seen is not None for judgement in judgements)}
    if missing := sum(judgement.seen is None for judgement in judgements):
        found["faults that cannot be had here"] = missing
    found.update({wrong.value: wrongs[wrong] for wrong in Wrong})
    if upstream is not None:
        told = [judgement for judgement in judgements if judgement.fault.test in upstream]
        asked = [judgement for judgement in told if upstream[judgement.fault.test].struck is not None]
        found["faults that happened under upstream's harness"] = len(asked)
        found["faults that never happened there"] = len(told) - len(asked)
        found["its wrong verdicts"] = sum(
            is_wrong_verdict(judgement.fault, upstream[judgement.fault.test].ending) for judgement in asked
        )
        found["it blames a rank that is not guilty"] = sum(
            blames_another(judgement.fault, upstream[judgement.fault.test]) for judgement in asked
        )
        found["it left something behind"] = sum(bool(upstream[judgement.fault.test].left) for judgement in asked)
    return found


def _table(judgements: Sequence[Judgement], upstream: Mapping[str, Observation] | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("fault", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("named cause", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("past deadline", justify="right", no_wrap=True)
    table.add_column("left", no_wrap=True)
    if upstream is not None:
        table.add_column("upstream", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("left", no_wrap=True)
    for judgement in judgements:
        of_upstream = () if upstream is None else _upstream_cells(judgement, upstream.get(judgement.fault.test))
        table.add_row(*_cells(judgement), *of_upstream)
    return table


def _cells(judgement: Judgement) -> tuple[str, ...]:
    name = escape(judgement.fault.name)
    if judgement.seen is None:
        return name, "not run", escape(judgement.missing), "", "", ""
    wrongs = {wrong for wrong, _ in judgement.wrongs}
    return (
        name,
        _marked(judgement.seen.ending.value, Wrong.VERDICT in wrongs),
        _marked(_short(judgement.seen.headline), Wrong.CAUSE in wrongs),
        _marked(_seconds(judgement.seconds), bool(wrongs & {Wrong.LATE, Wrong.NEVER})),
        _marked(_seconds(judgement.past_deadline), Wrong.LATE_HANG in wrongs),
        _marked(_left(judgement.seen), bool(judgement.seen.left)),
    )


def _upstream_cells(judgement: Judgement, seen: Observation | None) -> tuple[str, ...]:
    if seen is None or seen.struck is None:
        return ("-" if seen is None else "never happened", "", "")
    word = _marked(seen.ending.value, is_wrong_verdict(judgement.fault, seen.ending))
    return word, _seconds(seen.seconds), "" if seen.ending is Ending.NONE else _left(seen)


def _left(seen: Observation) -> str:
    return f"{len(seen.left)}" if seen.left else "nothing"


def _marked(text: str, is_wrong: bool) -> str:
    return f"[bold red]{escape(text)}[/]" if is_wrong else escape(text)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _short(headline: str) -> str:
    text = _printable(headline)
    return text if len(text) <= _CAUSE_CHARACTERS else f"{text[: _CAUSE_CHARACTERS - 4]} ..."


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def as_data(judgements: Sequence[Judgement], upstream: Mapping[str, Observation] | None = None) -> dict[str, object]:
    """Everything that the table says, and more, for JSON."""
    return {
        "counts": counts(judgements, upstream),
        "faults": [_row(judgement, (upstream or {}).get(judgement.fault.test)) for judgement in judgements],
    }


def _row(judgement: Judgement, of_upstream: Observation | None) -> dict[str, object]:
    seen, fault = judgement.seen, judgement.fault
    return {
        "name": fault.name,
        "test": fault.test,
        "does": fault.does,
        "expected": fault.expected.ending.value,
        "is_hang": fault.expected.is_hang,
        "verdict": seen and seen.ending.value,
        "cause": seen and seen.headline,
        "seconds": judgement.seconds,
        "past_deadline": judgement.past_deadline,
        "left": list(seen.left) if seen else [],
        "wrong": [f"{wrong.value}: {words}" for wrong, words in judgement.wrongs],
        "not_run": judgement.missing,
        "upstream": of_upstream
        and {
            "verdict": of_upstream.ending.value,
            "is_wrong": is_wrong_verdict(fault, of_upstream.ending),
            "cause": of_upstream.headline,
            "blames_another": blames_another(fault, of_upstream),
            "seconds": of_upstream.seconds,
            "left": list(of_upstream.left),
        },
    }
