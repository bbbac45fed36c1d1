"""The order of the files that were selected, and where it begins and ends. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..usage_error import UsageError
from .request import Request
from .selection import FileSelection

__all__ = ["begin_at", "bring_to_front", "end_with"]


def begin_at(selected: Sequence[FileSelection], first: Request) -> tuple[FileSelection, ...]:
    """The files from the first that `first` names on (upstream: `--first`).

    Raises:
        UsageError: none of them is selected.
    """
    return tuple(selected[_positions(selected, first, "--first")[0] :])


def end_with(selected: Sequence[FileSelection], last: Request) -> tuple[FileSelection, ...]:
    """The files up to the last that `last` names, which is among them (upstream: `--last`).

    Raises:
        UsageError: none of them is selected.
    """
    return tuple(selected[: _positions(selected, last, "--last")[-1] + 1])


def bring_to_front(selected: Sequence[FileSelection], names: Collection[str]) -> tuple[FileSelection, ...]:
    """The selected files that are called one of `names` before the others, in the order of `names`."""
    places = {name: place for place, name in enumerate(names)}
    return tuple(sorted(selected, key=lambda file: places.get(file.name, len(places))))


def _positions(selected: Sequence[FileSelection], request: Request, option: str) -> list[int]:
    found = [place for place, file in enumerate(selected) if file.name in request.files]
    if not found:
        raise UsageError(f"{option} names {' and '.join(request.files)}, which is not selected")
    return found
