"""Ids of tests in an expectations file: `FILE::Class.test`, `FILE::Class::test`, `FILE::Class`, `FILE`, globs. Pure.

Of a glob, `*` is anything, dots and slashes too, `?` one character, `[abc]` one of these, `{this,that}` either. Where a
test's own name has such characters, its id also names it as it stands, and with each of them in brackets, `[*]`, alone.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from torch_testing_shim._shared.node_ids import dotted

GLOB_CHARACTERS = frozenset("*?[{")
#: Characters with a meaning for `re` in a set, and none in a glob.
_IN_SET = re.compile(r"[\[\\^&~|]")
_TOKEN = re.compile(r"\[!?[^\]]+\]|.", re.DOTALL)


@dataclass(frozen=True)
class TestPattern:
    """The tests that an id names."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    file: str  # the file's name, or a glob over names
    test: str  # "Class.test", "Class", a glob over these, or "" for all tests of the file

    @property
    def is_exact(self) -> bool:
        """It names one test."""
        return bool(self.exact_names) and _plain(self.test) is not None

    @property
    def exact_names(self) -> frozenset[str]:
        """The tests of one file that it names in full; it may name others, too, by a glob."""
        if is_glob(self.file) or not ("." in self.test or self.test.startswith("test")):
            return frozenset()
        return frozenset(filter(None, (self.test, _plain(self.test))))

    def covers_file(self, file: str) -> bool:
        """True for the files that its tests lie in."""
        return bool(glob_as_regex(self.file).fullmatch(file)) if is_glob(self.file) else file == self.file

    def covers_test(self, test: str) -> bool:
        """True for the tests that it names in such a file."""
        if not self.test:
            return True
        if is_glob(self.test) and glob_as_regex(self.test).fullmatch(test):
            return True
        return test == self.test or ("." not in self.test and test.startswith(f"{self.test}."))


def read_id(text: str) -> TestPattern:
    """Read an id.

    Raises:
        ValueError: it is not one; the message says what is wrong, in a few words.
    """
    file, separator, rest = text.partition("::")
    test = dotted(rest)
    test_class, dot, method = test.partition(".")
    if not file or text != text.strip() or (separator and not test_class) or (dot and not method):
        raise ValueError("is no test's id; write FILE::Class.test, FILE::Class or FILE")
    pattern = TestPattern(file.removesuffix(".py"), test)
    for part in (pattern.file, pattern.test):
        glob_as_regex(part)
    return pattern


def escaped(test: str) -> str:
    """The id part that names this test alone, whatever characters its name has."""
    blanks = {place for place in (0, len(test) - 1) if test[place].isspace()}
    return "".join(f"[{char}]" if char in "*?[{}" or at in blanks else char for at, char in enumerate(test))


def is_glob(text: str) -> bool:
    return not GLOB_CHARACTERS.isdisjoint(text)


@functools.lru_cache(maxsize=1 << 16)
def glob_as_regex(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob.

    Raises:
        ValueError: its braces do not close, or it holds no valid set of characters.
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


def _plain(glob: str) -> str | None:
    """The only text that a glob matches; None where it may match several."""
    tokens = _TOKEN.findall(glob)
    if any(len(token) > 3 or token in ("*", "?", "{", "}") for token in tokens):
        return None
    return "".join(token if len(token) == 1 else token[1] for token in tokens)


def _regex_of(token: str) -> str:
    if token in ("*", "?"):
        return {"*": ".*", "?": "."}[token]
    if len(token) > 1:
        inside = _IN_SET.sub(r"\\\g<0>", token[1:-1])
        return f"[^{inside[1:]}]" if len(inside) > 1 and inside.startswith("!") else f"[{inside}]"
    return re.escape(token)
