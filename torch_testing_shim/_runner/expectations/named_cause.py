"""The first line of a failure as a regular expression that the same failure matches in another run, too. Pure."""

from __future__ import annotations

import re

__all__ = ["cause_as_regex"]

#: Which rank was first is chance, and so are process ids, addresses and temporary folders.
RANK = re.compile(r"^rank \d+ (?:failed|errored): ")
CHANGING = re.compile(
    r"(?P<pid>\bpid \d+)|(?P<address>\b0x[0-9a-fA-F]{6,})|(?P<path>(?<![\w.])/(?:tmp|dev/shm)/[^\s'\":]+)"
)
MARKS = {"pid": r"pid \d+", "address": r"0x[0-9a-fA-F]+", "path": r"\S+"}
#: What of a line is taken, in characters; some messages are a page in one line.
MOST_CHARACTERS = 200


def cause_as_regex(reason: str) -> str:
    """The regular expression, to be searched for, of a failure's reason; "" where there is none."""
    line = next(iter(reason.splitlines()), "")
    text = RANK.sub("", line)[:MOST_CHARACTERS].strip()
    made, end = [], 0
    for found in CHANGING.finditer(text):
        made += [_escaped(text[end : found.start()]), MARKS[found.lastgroup or ""]]
        end = found.end()
    return "".join([*made, _escaped(text[end:])])


def _escaped(text: str) -> str:
    """The text without what means something in an expression; blanks and quotes stay, for people to read."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)
