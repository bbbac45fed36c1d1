"""The values of `-k`: unittest's patterns, and pytest's expressions where there are blanks or parentheses.

A pattern is a part of a name, or a glob where it has a `*`. An expression joins words by `and`, `or`, `not` and
parentheses; a word is a part of a name, in whatever case, as pytest has it: `planner and not (slow or gpu)`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

Matcher = Callable[[str], bool]

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_OPERATORS = ("and", "or", "not", "(", ")")


class KeywordError(ValueError):
    """An expression that cannot be read; the message is one sentence."""


def read_keyword(text: str) -> Matcher:
    """A function that says whether a test's full name, "module.Class.method", is meant.

    Raises:
        KeywordError: the expression is incomplete.
    """
    if not re.search(r"[\s()]", text):
        glob = text if "*" in text else f"*{text}*"
        return lambda name: fnmatch.fnmatchcase(name, glob)
    reader = _Reader(text)
    matcher = reader.alternatives()
    if reader.tokens:
        raise reader.error()
    return matcher


class _Reader:
    """Reads an expression from left to right. Each method reads the part that its name says and returns its matcher."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.tokens = _TOKEN.findall(text)

    def alternatives(self) -> Matcher:
        first = self._conjunction()
        if not self._take("or"):
            return first
        second = self.alternatives()
        return lambda name: first(name) or second(name)

    def _conjunction(self) -> Matcher:
        first = self._term()
        if not self._take("and"):
            return first
        second = self._conjunction()
        return lambda name: first(name) and second(name)

    def _term(self) -> Matcher:
        if self._take("not"):
            negated = self._term()
            return lambda name: not negated(name)
        if self._take("("):
            inner = self.alternatives()
            if not self._take(")"):
                raise self.error()
            return inner
        if not self.tokens or self.tokens[0] in _OPERATORS:
            raise self.error()
        word = self.tokens.pop(0).lower()
        return lambda name: word in name.lower()

    def error(self) -> KeywordError:
        where = f"at {self.tokens[0]!r}" if self.tokens else "at its end"
        return KeywordError(f"cannot read -k {self._text!r} {where}: write words with and, or, not and parentheses")

    def _take(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False
