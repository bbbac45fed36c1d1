"""Requests: the words by which a user names files and tests -> the names of files, and the test. Pure.

One request is `FILE` or `FILE::Class.test` (`FILE::Class::test` means the same, `FILE::Class` the class). A test's name
may hold any characters, since its parameters are part of it. FILE is

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

from torch_testing_shim._shared.node_ids import dotted, is_name

from ..usage_error import UsageError

#: How many near names an error suggests, and how near: all names share `test_`, so difflib's usual 0.6 is too little.
SUGGESTIONS, NEARNESS = 3, 0.7


@dataclass(frozen=True)
class Request:
    """The files and the test that a request names."""

    files: tuple[str, ...]  # the names of the files, at least one
    test: str = ""  # `Class.test` or `Class`; empty for all tests of the files


@dataclass(frozen=True)
class Place:
    """The folders that names and paths start at: absolute, without symbolic links."""

    test_folder: str
    working_folder: str

    def spellings(self, text: str) -> list[str]:
        """`text` as names below the test folder, likeliest first; empty where it lies outside."""
        as_name = posixpath.normpath(posixpath.join(self.test_folder, text))
        as_path = posixpath.normpath(posixpath.join(self.working_folder, text))
        paths = [as_path] if text.startswith(("/", ".")) else [as_name, as_path]
        names = [posixpath.relpath(path, self.test_folder) for path in paths]
        return [name.removesuffix(".py") for name in names if name != ".." and not name.startswith("../")]


def read_all(texts: Iterable[str], names: Sequence[str], place: Place) -> list[Request]:
    """Read each of `texts` as a request for some of the files `names`."""
    requests, problems = [], []
    for text in texts:
        try:
            requests.append(read_request(text, names, place))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return requests


def read_request(text: str, names: Sequence[str], place: Place) -> Request:
    """Read `text` as a request for some of the files `names`."""
    pattern, separator, rest = text.partition("::")
    test = dotted(rest)
    if not pattern or (separator and not is_name(test)):
        raise UsageError(f"cannot read {text!r}: write FILE, FILE::Class or FILE::Class.test")
    spellings = place.spellings(pattern)
    if not spellings:
        raise UsageError(f"{pattern!r} lies outside the test folder {place.test_folder!r}")
    for spelling in spellings:
        found = _matching(spelling, names)
        if found:
            return Request(tuple(found), test)
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
