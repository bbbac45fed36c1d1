"""Ids of tests in an expectations file: `FILE::Class.test`, `FILE::Class::test`, `FILE::Class`, `FILE`, globs. Pure.

Of a glob, `*` is anything, dots and slashes too, `?` one character, `[abc]` one of these, `{this,that}` either.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

__all__ = ["TestPattern", "glob_as_regex", "is_glob", "read_id"]

GLOB_CHARACTERS = frozenset("*?[{")
_TOKEN = re.compile(r"\[!?[^\]]+\]|.", re.DOTALL)


@dataclass(frozen=True)
class TestPattern:
    """The tests that an id names.

    Attributes:
        file: the file's name, or a glob over names.
        test: "Class.test", "Class", a glob over these, or "" for all tests of the file.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    file: str
    test: str

    @property
    def is_exact(self) -> bool:
        """It names one test."""
        return "." in self.test and not is_glob(self.file) and not is_glob(self.test)

    def covers_file(self, file: str) -> bool:
        """True for the files that its tests lie in."""
        return bool(glob_as_regex(self.file).fullmatch(file)) if is_glob(self.file) else file == self.file

    def covers_test(self, test: str) -> bool:
        """True for the tests that it names in such a file."""
        if not self.test:
            return True
        if is_glob(self.test):
            return bool(glob_as_regex(self.test).fullmatch(test))
        return test == self.test or ("." not in self.test and test.startswith(f"{self.test}."))


def read_id(text: str) -> TestPattern:
    """Reads an id.

    Raises:
        ValueError: it is none; the message says what is wrong, in a few words.
    """
    file, *parts = text.split("::")
    if not file or any(not part for part in parts) or text != text.strip():
        raise ValueError("is no test's id; write FILE::Class.test, FILE::Class or FILE")
    pattern = TestPattern(file.removesuffix(".py"), ".".join(parts))
    for part in (pattern.file, pattern.test):
        glob_as_regex(part)
    return pattern


def is_glob(text: str) -> bool:
    return not GLOB_CHARACTERS.isdisjoint(text)


@functools.lru_cache(maxsize=1 << 16)
def glob_as_regex(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob.

    Raises:
        ValueError: its braces do not close, or a set of characters is none.
    """
    depth, made = 0, []
    for token in _TOKEN.findall(glob):
        if token == "}" or (token == "," and depth):
            made.append("|" if token == "," else ")")
            depth -= token == "}"
        elif token == "{":
            made.append("(?:")
            depth += 1
        else:
            made.append(_regex_of(token))
        if depth < 0:
            break
    if depth:
        raise ValueError("has a brace without its other one")
    try:
        return re.compile("".join(made), re.DOTALL)
    except re.error as error:
        raise ValueError(f"is no glob: {error}") from None


def _regex_of(token: str) -> str:
    if token in ("*", "?"):
        return {"*": ".*", "?": "."}[token]
    if len(token) > 1:
        inside = token[1:-1].replace("\\", "\\\\").replace("^", "\\^")
        return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
    return re.escape(token)
