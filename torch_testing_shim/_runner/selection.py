"""Selection: what the user typed -> which files run, and which of their tests. Pure: strings in, records out.

One request is `FILE` or `FILE::Class.test` (`FILE::Class::test` means the same, `FILE::Class` the whole class). FILE is

* a test file's name, `distributed/checkpoint/test_fsdp_optim_state`, with or without `.py`;
* a folder of them, `distributed/checkpoint`;
* a glob over names, `distributed/*` (`*` matches slashes too);
* or any of these as a path, absolute or relative to the folder that the user is in.

A text is read as a name first and as a path second, unless it is absolute or starts with a dot.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .usage_error import UsageError

__all__ = ["FileSelection", "Place", "select"]

#: How many near names an error suggests, and how near: all names share `test_`, so difflib's usual 0.6 is too little.
SUGGESTIONS, NEARNESS = 3, 0.7


@dataclass(frozen=True, order=True)
class FileSelection:
    """One test file that is to run.

    Attributes:
        name: the file's name, see `discovery`.
        tests: the tests of it that were asked for, as `Class.test` or `Class`; empty for all of them.
    """

    name: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where names and paths start: two absolute folders, without symbolic links."""

    test_folder: str
    working_folder: str

    def spellings(self, text: str) -> list[str]:
        """`text` as names below the test folder, likeliest first; empty where it lies outside."""
        as_name = posixpath.normpath(posixpath.join(self.test_folder, text))
        as_path = posixpath.normpath(posixpath.join(self.working_folder, text))
        paths = [as_path] if text.startswith(("/", ".")) else [as_name, as_path]
        names = [posixpath.relpath(path, self.test_folder) for path in paths]
        return [name.removesuffix(".py") for name in names if name != ".." and not name.startswith("../")]


def select(
    names: Sequence[str], include: Iterable[str], exclude: Iterable[str], place: Place
) -> tuple[FileSelection, ...]:
    """The files to run: what `include` asks for in its order (all `names` where it is empty) less what `exclude` names.

    A file asked for twice runs once; asked for as a whole and in part, it runs as a whole.

    Raises:
        UsageError: a request names nothing; the message has one line per such request and suggests the nearest names.
    """
    problems: list[str] = []
    wanted: dict[str, tuple[str, ...]] = {} if include else dict.fromkeys(names, ())
    for text in include:
        try:
            files, tests = _resolve(text, names, place)
        except UsageError as error:
            problems.append(str(error))
            continue
        for name in files:
            wanted[name] = _merge(wanted.get(name), tests)
    for text in exclude:
        try:
            files, tests = _resolve(text, names, place)
        except UsageError as error:
            problems.append(str(error))
            continue
        if tests:
            problems.append(f"cannot exclude a part of a file: {text!r}; name the file")
        for name in files:
            wanted.pop(name, None)
    if problems:
        raise UsageError("\n".join(problems))
    return tuple(FileSelection(name, tests) for name, tests in wanted.items())


def _merge(known: tuple[str, ...] | None, more: tuple[str, ...]) -> tuple[str, ...]:
    """The union of two sets of tests of one file, where () is the set of all."""
    if known is None:
        return more
    if not known or not more:
        return ()
    return tuple(dict.fromkeys(known + more))


def _resolve(text: str, names: Sequence[str], place: Place) -> tuple[list[str], tuple[str, ...]]:
    """The names of the files that `text` asks for, and the test of them that it names, if it does."""
    pattern, *parts = text.split("::")
    test = ".".join(parts)
    if not pattern or (parts and not all(part.isidentifier() for part in test.split("."))):
        raise UsageError(f"cannot read {text!r}: write FILE, FILE::Class or FILE::Class.test")
    spellings = place.spellings(pattern)
    if not spellings:
        raise UsageError(f"{pattern!r} lies outside the test folder {place.test_folder!r}")
    for spelling in spellings:
        found = _matching(spelling, names)
        if found:
            return found, (test,) if test else ()
    raise UsageError(f"no test file is called {pattern!r}{_suggestion(spellings[0], names)}")


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    if pattern in names:
        return [pattern]
    if pattern == ".":
        return list(names)
    below = [name for name in names if name.startswith(f"{pattern}/")]
    return below or [name for name in names if fnmatchcase(name, pattern)]


def _suggestion(unknown: str, names: Sequence[str]) -> str:
    """The end of a sentence that names the nearest names: by the file's own name, or else by the whole path."""
    last_parts = {name: posixpath.basename(name) for name in names}
    near = _near(posixpath.basename(unknown), sorted(set(last_parts.values())))
    by_last_part = [name for part in near for name in names if last_parts[name] == part]
    nearest = (by_last_part or _near(unknown, names))[:SUGGESTIONS]
    return f"; did you mean {' or '.join(nearest)}?" if nearest else "; --list shows the names"


def _near(word: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(word, known, SUGGESTIONS, NEARNESS)
