"""Selection: which files run, in which order, and which of their tests. Pure: requests in, records out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch_testing_shim._shared.node_ids import covers

from ..usage_error import UsageError
from .request import Request


@dataclass(frozen=True, order=True)
class FileSelection:
    """One test file that runs."""

    name: str  # the file's name (see `tree`)
    #: The tests of it that were asked for, as `Class.test` or `Class`; empty for all of them.
    tests: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()  # the tests that are left out of these, named in the same way

    def without(self, excluded: Sequence[str]) -> FileSelection | None:
        """This selection less some tests of the file; None where it becomes empty."""
        left = tuple(test for test in self.tests if not any(covers(name, test) for name in excluded))
        if self.tests and not left:
            return None
        names = dict.fromkeys((*self.excluded, *excluded))
        telling = (name for name in names if not left or any(covers(test, name) for test in left))
        return FileSelection(self.name, left, tuple(telling))

    def has(self, test: str) -> bool:
        """True for a test, "Class.test", that is among these."""
        is_wanted = not self.tests or any(covers(name, test) for name in self.tests)
        return is_wanted and not any(covers(name, test) for name in self.excluded)

    def only(self, tests: Sequence[str]) -> FileSelection | None:
        """The intersection of this selection and `tests`, where () is all tests; None where it is empty."""
        if not tests or not self.tests:
            both = tuple(tests) or self.tests
        else:
            inner = [
                mine if covers(other, mine) else other for mine in self.tests for other in tests if _meet(mine, other)
            ]
            both = tuple(dict.fromkeys(inner))
            if not both:
                return None
        return replace(self, tests=both, excluded=()).without(self.excluded)


def select(names: Sequence[str], include: Sequence[Request], exclude: Iterable[Request]) -> tuple[FileSelection, ...]:
    """Return the files to run: those of `include` in its order (all `names` where it is empty) less those of `exclude`.

    A file that is named twice runs once. A file that is named as a whole and in part runs as a whole.
    """
    wanted: dict[str, tuple[str, ...]] = {} if include else dict.fromkeys(names, ())
    for request in include:
        for name in request.files:
            wanted[name] = _merge(wanted.get(name), (request.test,) if request.test else ())
    left_out: dict[str, list[str]] = {}
    for request in exclude:
        for name in request.files:
            if request.test:
                left_out.setdefault(name, []).append(request.test)
            else:
                wanted.pop(name, None)
    selected = (FileSelection(name, tests).without(left_out.get(name, ())) for name, tests in wanted.items())
    return tuple(file for file in selected if file is not None)


def restrict(selected: Iterable[FileSelection], tests: Mapping[str, Sequence[str]]) -> tuple[FileSelection, ...]:
    """Return the part of `selected` that lies in `tests`: names of files -> their tests, where () is all tests."""
    both = (file.only(tests[file.name]) for file in selected if file.name in tests)
    return tuple(file for file in both if file is not None)


def only_distributed(selected: Iterable[FileSelection], *, wanted: bool) -> tuple[FileSelection, ...]:
    """The files under test/distributed, or those that lie elsewhere where `wanted` is False."""
    return tuple(file for file in selected if file.name.startswith("distributed/") is wanted)


def _merge(known: tuple[str, ...] | None, more: tuple[str, ...]) -> tuple[str, ...]:
    """The union of two sets of tests of one file, where () is the set of all."""
    if known is None:
        return more
    if not known or not more:
        return ()
    return tuple(dict.fromkeys(known + more))


def _meet(one: str, other: str) -> bool:
    return covers(one, other) or covers(other, one)


def begin_at(selected: Sequence[FileSelection], first: Request) -> tuple[FileSelection, ...]:
    """The files from the first that `first` names on (upstream: `--first`)."""
    return tuple(selected[_positions(selected, first, "--first")[0] :])


def end_with(selected: Sequence[FileSelection], last: Request) -> tuple[FileSelection, ...]:
    """The files up to the last that `last` names, which is among them (upstream: `--last`)."""
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
