"""The text of an expectations file -> `Expectation`s, or one sentence for each thing that is wrong with it."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from torch_testing_shim._shared.expectation_ids import read_id
from torch_testing_shim._shared.expectations import Expect, Expectation

from ..cli.project_table import toml_of
from ..usage_error import UsageError, refusal

KEYS = ("id", "expect", "reason", "issue", "when", "error")
WHEN_KEYS = ("device", "torch")
#: The most mistakes in one message; a file in another format has one in each entry.
MOST_TOLD = 20


def read_text(path: Path) -> str:
    """A file's text, its line ends as they are."""
    with refusal(f"read the expectations {str(path)!r}"):
        text = path.read_bytes()
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the expectations {str(path)!r} are not UTF-8 text") from None


def parse_expectations(text: str, name: str) -> tuple[Expectation, ...]:
    """The entries of a file, in its order.

    Args:
        name: the file, as messages name it.
    """
    try:
        tables = toml_of(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no TOML file: {' '.join(str(error).split())}") from None
    rows = tables.get("test", [])
    problems = [f"there is no key {key!r}; entries are [[test]]" for key in tables if key != "test"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problems, rows = [*problems, "'test' is no list of entries; write each as [[test]]"], []
    entries = []
    for number, row in enumerate(rows, start=1):
        whose = row["id"] if isinstance(row.get("id"), str) else f"entry {number}"
        wrong = list(_mistakes(row))
        problems += [f"{whose}: {mistake}" for mistake in wrong]
        entries += [] if wrong else [_entry(row)]
    problems += _meeting(entries)
    if problems:
        more = [f"{len(problems) - MOST_TOLD} more mistakes"] if len(problems) > MOST_TOLD else []
        raise UsageError("\n".join(f"{name}: {problem}" for problem in [*problems[:MOST_TOLD], *more]))
    return tuple(entries)


def _mistakes(row: Mapping[str, Any]) -> Iterator[str]:
    """The mistakes in one entry."""
    for key in row:
        if key not in KEYS:
            yield f"there is no key {key!r}; an entry has {', '.join(KEYS)}"
    for key in ("id", "expect"):
        if key not in row:
            yield f"it has no {key}"
    for key in ("id", "expect", "reason", "issue", "error"):
        if not isinstance(row.get(key, ""), str):
            yield f"{key} is {row[key]!r}, and has to be a text"
        elif mistake := _mistake_in(key, row.get(key)):
            yield mistake
    yield from _mistakes_in_when(row.get("when", {}))


def _mistake_in(key: str, value: str | None) -> str:
    """The mistake in a text; "" where there is none."""
    if value is None:
        return ""
    try:
        if key == "id":
            read_id(value)
        elif key == "expect" and value not in [expect.value for expect in Expect]:
            return f"expect is {value!r}, and has to be xfail, skip or flaky"
        elif key == "error":
            re.compile(value)
    except re.error as error:
        return f"error is no regular expression: {error}"
    except ValueError as error:
        return f"the id {error}"
    return ""


def _mistakes_in_when(when: Any) -> Iterator[str]:
    if not isinstance(when, dict):
        yield f'when is {when!r}, and has to be a table such as {{ device = "cpu" }}'
        return
    for key in when:
        if key not in WHEN_KEYS:
            yield f"when has no key {key!r}; it has {' and '.join(WHEN_KEYS)}"
    device = when.get("device", "any")
    devices = device if isinstance(device, list) else [device]
    if not devices or not all(isinstance(one, str) and one.isidentifier() for one in devices):
        yield f'when.device is {device!r}, and has to be a device type such as "cpu", or a list of them'
    if "torch" in when and not (isinstance(when["torch"], str) and is_range(when["torch"])):
        yield f'when.torch is {when["torch"]!r}, which is no range of versions; write one such as ">=2.6,<2.9"'


def _entry(row: Mapping[str, Any]) -> Expectation:
    when = row.get("when", {})
    device = when.get("device", [])
    return Expectation(
        id=row["id"],
        expect=Expect(row["expect"]),
        reason=" ".join(row.get("reason", "").split()),
        issue=row.get("issue", "").strip(),
        devices=tuple(device) if isinstance(device, list) else (device,),
        torch=when.get("torch", ""),
        error=row.get("error", ""),
    )


def _meeting(entries: list[Expectation]) -> Iterator[str]:
    """Entries of one id that may apply at the same time: one of them would never count."""
    known: dict[tuple[str, str], list[Expectation]] = {}
    for entry in entries:
        same = known.setdefault((entry.pattern.file, entry.pattern.test), [])
        if any(may_meet(entry, other) for other in same):
            yield f"{entry.id}: it stands here more than once, for the same device and version of torch"
        same.append(entry)


def may_meet(one: Expectation, other: Expectation) -> bool:
    """True where both may hold at the same time, on some device and with some version of torch."""
    on_one_device = not one.devices or not other.devices or bool({*one.devices} & {*other.devices})
    return on_one_device and ranges_meet(one.torch, other.torch)


@functools.lru_cache(maxsize=1024)
def _read(text: str) -> SpecifierSet:
    return SpecifierSet(text, prereleases=True)


def is_range(text: str) -> bool:
    """True for a range, such as ">=2.6,<2.9"."""
    try:
        parts = [part.operator for part in _read(text)]
    except InvalidSpecifier:
        return False
    return bool(parts) and "===" not in parts


def is_in_range(version: str, text: str) -> bool:
    """True where a version lies in a range; "" is the range of all. A build ahead of a release, as 2.9.0a0, counts as
    that release: by PEP 440 it would lie in neither <2.9 nor >=2.9."""
    return not text or _read(text).contains(Version(version).base_version)


@functools.lru_cache(maxsize=1024)
def ranges_meet(one: str, other: str) -> bool:
    """True where some version may lie in both ranges. The candidates are their bounds, the versions right after each,
    and the next release of each level: ranges that overlap at all share one of these."""
    if not one or not other:
        return True
    both = _read(f"{one},{other}")
    return any(both.contains(candidate) for candidate in _candidates(both))


def _candidates(ranges: SpecifierSet) -> set[str]:
    found = {"0", "0.dev0"}
    for part in ranges:
        version = Version(part.version.removesuffix(".*"))
        release = version.release
        bumped = [(*release[:level], release[level] + 1) for level in range(len(release))]
        found |= {str(version), version.base_version, f"{version.public}.post1" if not version.is_devrelease else "0"}
        found |= {".".join(map(str, numbers)) for numbers in [(*release, 0, 0, 0, 1), *bumped]}
    return found


def installed_torch() -> str | None:
    """The version of torch that test files will import; None where the installation does not tell."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
