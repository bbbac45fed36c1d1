"""The table of what equals what (equality_table.txt): how it is measured, written, read.

A cell says how a pair of kinds compares, here and in PyTorch's `assertEqual` (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from equality_options import OPTIONS
from equality_samples import KINDS

TABLE = Path(__file__).with_name("equality_table.txt")
EQUAL, DIFFERENT, ERROR = "=", ".", "E"

#: Names of two values of KINDS, or of a pair of OPTIONS and "".
Pair = tuple[str, str]
NOT_NUMBERS = frozenset({"nan", "inf", "nan tensor"})


@dataclass(frozen=True)
class Reason:
    """Why a pair compares otherwise than in PyTorch."""

    letter: str  # its cell in the table
    #: How the pair compares.
    ours: str
    upstream: str
    why: str  # in a sentence
    covers: Callable[[Pair], bool] = lambda pair: True  # which pairs it is about


def _names(word: str) -> Callable[[Pair], bool]:
    return lambda pair: any(word in name for name in pair)


def _is_bool_and_no_number(pair: Pair) -> bool:
    return bool({"bool", "numpy bool"} & {*pair}) and bool(NOT_NUMBERS & {*pair})


#: The first that fits a pair is its reason.
REASONS = (
    Reason("b", ".", "=", "True is no NaN and no infinity; upstream takes either for True", _is_bool_and_no_number),
    Reason("c", ".", "=", "bytes are no numbers; upstream reads them as such", _names("bytearray")),
    Reason("i", ".", "=", "1.5 is not 1; upstream reads the list in the tensor's dtype", _names("a list of floats")),
    Reason(
        "n", ".", "=", "upstream leaves it to numpy's ==, which compares one value with each element", _names("numpy")
    ),
    Reason("x", ".", "E", "the two are not equal; upstream ends in an error that is no verdict"),
    Reason("y", "=", "E", "the two are equal; upstream ends in an error that is no verdict"),
    Reason("t", "E", "=", "one tolerance without the other is a mistake, whatever is compared", _names("atol alone")),
    Reason("r", "E", ".", "what cannot be read as a tensor is an error beside one, also where it is an array"),
)


def all_pairs() -> Iterator[Pair]:
    """Each two kinds once, and each pair with options."""
    yield from combinations_with_replacement(KINDS, 2)
    yield from ((name, "") for name in OPTIONS)


def outcome(assert_equal: Callable[..., Any], pair: Pair, *, swapped: bool = False) -> str:
    """How the pair compares: equal, different or an error.

    Args:
        swapped: the second value comes first.
    """
    if pair[0] in OPTIONS:
        make, options = OPTIONS[pair[0]]
        values = make()
    else:
        values, options = (KINDS[pair[0]](), KINDS[pair[1]]()), {}
    try:
        assert_equal(*(reversed(values) if swapped else values), **options)
    except AssertionError:
        return DIFFERENT
    except Exception:
        return ERROR
    return EQUAL


def reason_for(pair: Pair, ours: str, upstream: str) -> Reason | None:
    """Why the two differ; None where nothing is known."""
    return next((one for one in REASONS if (one.ours, one.upstream) == (ours, upstream) and one.covers(pair)), None)


def table_text(cells: dict[Pair, str]) -> str:
    """The table for people and for `read_table`."""
    lines = ["What equals what, by assertEqual here and in PyTorch (compare_equality.py writes this file):", ""]
    lines += ["    =  equal in both", "    .  different in both", "    E  an error in both"]
    lines += [f"    {one.letter}  ours {one.ours}, upstream {one.upstream}: {one.why}" for one in REASONS]
    names = list(KINDS)
    lines += ["", "Each kind with those above it and itself; a column bears the number of its row:", ""]
    for divisor in (10, 1):
        lines.append(f"{'':<28}" + "".join(str(number // divisor % 10) for number in range(len(names))))
    for number, name in enumerate(names):
        row = "".join(cells[other, name] for other in names[: number + 1])
        lines.append(f"{number:>3} {name:<24}{row}")
    lines += ["", "Pairs with options:", "", *(f"{cells[name, '']}  {name}" for name in OPTIONS), ""]
    return "\n".join(lines)


def read_table() -> dict[Pair, str]:
    """The outcome here of each pair, as the table has it."""
    text = TABLE.read_text()
    ours = {EQUAL: EQUAL, DIFFERENT: DIFFERENT, ERROR: ERROR} | {one.letter: one.ours for one in REASONS}
    _, kinds, options = text.split(":\n\n")[0], *text.split("its row:\n\n")[1].split("Pairs with options:\n\n")
    rows = {line[4:28].rstrip(): line[28:] for line in kinds.splitlines()[2:] if line}
    names = list(rows)
    found = {(names[column], name): ours[cell] for name, row in rows.items() for column, cell in enumerate(row)}
    return found | {(line[3:], ""): ours[line[0]] for line in options.splitlines()}
