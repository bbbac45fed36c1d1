"""Make changes in the text of an expectations file; the rest stays as it is, to the last blank. Pure.

The text is taken apart at its `[[test]]` headers, so that a change sees one entry alone: tomlkit keeps the comments
inside it, and a comment between two entries stays where it is. An entry's own comment stands right above its header and
goes with it. The result is read again, and must have the intended entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.items import AoT, String

from torch_testing_shim._shared.expectations import Expectation

from ..cli.project_table import toml_of
from ..usage_error import UsageError
from .changes import Change
from .reading import parse_expectations

HEADER = re.compile(r"[ \t]*\[\[[ \t]*test[ \t]*\]\]")
LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class _Block:
    """One entry's part of the text."""

    comment: str  # the comment lines right above the header
    content: str  # from the header to the last line that is neither blank nor a comment
    rest: str  # blank lines and comments up to the next entry's own comment


def check_rewritable(text: str, name: str) -> None:
    """Check that the text can be taken apart."""
    _, blocks = _apart(text)
    ids = [row["id"] for row in toml_of(text).get("test", [])] if text.strip() else []
    try:
        found = [toml_of(block.content)["test"][0]["id"] for block in blocks]
    except (ValueError, KeyError):
        found = []
    if found != ids:
        raise UsageError(f"{name} cannot be updated: each entry has to stand under a [[test]] header of its own")


def rewritten(text: str, entries: Sequence[Expectation], changes: Sequence[Change], name: str) -> str:
    """Return the text, which has the `entries`, with the changes made; messages name the file by `name`."""
    head, blocks = _apart(text)
    by_old = {change.old: change.new for change in changes if change.old is not None}
    parts, meant = [head], []
    for entry, block in zip(entries, blocks, strict=True):
        new = by_old.get(entry, entry)
        if new is None:
            parts.append(block.rest.lstrip("\r\n"))
            continue
        content = block.content if new == entry else _with_error(block.content, new.error)
        parts += [block.comment, content, block.rest]
        meant.append(new)
    made = "".join(parts)
    for new in (change.new for change in changes if change.old is None):
        assert new is not None
        above = f"{made.rstrip()}\n\n" if made.strip() else ""
        made = f"{above}{new_block(new)}"
        meant.append(new)
    if parse_expectations(made, name) != tuple(meant):
        raise UsageError(f"{name} cannot be updated: its text is written in a way that this does not understand")
    return made


def _apart(text: str) -> tuple[str, list[_Block]]:
    """The text above the first entry, and the entries."""
    lines = LINE.findall(text)
    headers = [number for number, line in enumerate(lines) if HEADER.match(line)]
    starts = [_start_of_comment(lines, header) for header in headers]
    blocks = []
    for start, header, end in zip(starts, headers, [*starts, len(lines)][1:], strict=True):
        told = max(number for number in range(header, end) if _says_something(lines[number])) + 1
        blocks.append(_Block("".join(lines[start:header]), "".join(lines[header:told]), "".join(lines[told:end])))
    return "".join(lines[: starts[0]] if starts else lines), blocks


def _start_of_comment(lines: Sequence[str], header: int) -> int:
    start = header
    while start > 0 and lines[start - 1].lstrip(" \t").startswith("#"):
        start -= 1
    return start


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip(" \t").startswith("#")


def _with_error(content: str, error: str) -> str:
    document = tomlkit.parse(content)
    tests = document["test"]
    assert isinstance(tests, AoT)
    tests[0]["error"] = _text(error)
    made = tomlkit.dumps(document)
    return made if made.endswith("\n") or not content.endswith("\n") else f"{made}\n"


def new_block(entry: Expectation) -> str:
    """Return an entry's text, its keys in the order of the format."""
    when: dict[str, Any] = {}
    if entry.devices:
        when["device"] = entry.devices[0] if len(entry.devices) == 1 else list(entry.devices)
    if entry.torch:
        when["torch"] = entry.torch
    fields: Mapping[str, str] = {
        "id": entry.id,
        "expect": entry.expect.value,
        "reason": entry.reason,
        "issue": entry.issue,
    }
    table = tomlkit.table()
    for key, value in fields.items():
        if value:
            table[key] = value
    if when:
        inline = tomlkit.inline_table()
        inline.update(when)
        table["when"] = inline
    if entry.error:
        table["error"] = _text(entry.error)
    tests = tomlkit.aot()
    tests.append(table)
    document = tomlkit.document()
    document["test"] = tests
    return tomlkit.dumps(document)


def _text(value: str) -> String:
    """A TOML string, between single quotes where that is possible: a regular expression is easiest to read there."""
    is_literal = "'" not in value and value.isprintable()
    return tomlkit.string(value, literal=is_literal)
