"""Ranges of torch's versions, as PEP 440 writes them, and the version that is installed. torch is not imported."""

from __future__ import annotations

import functools
import importlib.metadata

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

__all__ = ["check_range", "installed_torch", "is_in_range", "ranges_meet"]


@functools.lru_cache(maxsize=1024)
def _read(text: str) -> SpecifierSet:
    return SpecifierSet(text, prereleases=True)


def check_range(text: str) -> None:
    """Looks whether `text` is a range, such as ">=2.6,<2.9".

    Raises:
        ValueError: it is none; the message says so in a few words.
    """
    try:
        parts = [part.operator for part in _read(text)]
    except InvalidSpecifier:
        parts = []
    if not parts or "===" in parts:
        raise ValueError(f"{text!r} is no range of versions; write one such as >=2.6,<2.9")


def is_in_range(version: str, text: str) -> bool:
    """True where a version lies in a range; "" is the range of all. A build ahead of a release, as 2.9.0a0, counts as
    that release: PEP 440 has it in neither of <2.9 and >=2.9."""
    return not text or _read(text).contains(Version(version).base_version)


@functools.lru_cache(maxsize=1024)
def ranges_meet(one: str, other: str) -> bool:
    """True where some version may lie in both ranges. It is looked for at their bounds, right after each, and at the
    next release of each level: what meets at all meets there."""
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
