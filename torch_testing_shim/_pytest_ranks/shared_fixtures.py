"""The fixtures that ranks get by fork: those of a wider scope than one test, which pytest's process sets up once.

A zygote has the fixtures that were set up when it was forked. It is stale for a test that needs one which was set up
since; then a new one is forked. pytest's private parts are used here: `_request`, `_fixtureinfo`, `cached_result`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def _wider_fixtures(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fixtures of a test whose scope is wider than one test: name and definition."""
    for name in item.fixturenames:
        definitions = item._fixtureinfo.name2fixturedefs.get(name)
        if definitions and definitions[-1].scope != "function":
            yield name, definitions[-1]


def set_up_shared(item: Any) -> None:
    """Set up the fixtures of a test whose scope is wider than one test, as pytest sets them up."""
    for name, _ in _wider_fixtures(item):
        item._request.getfixturevalue(name)


def shared_values(session: Any) -> dict[str, object]:
    """Return the values of the fixtures of a wider scope that are set up now, by name."""
    found: dict[str, list[object]] = {}
    for one in _wider_definitions(session):
        found.setdefault(one.argname, []).append(one.cached_result[0])
    return dict(found)


class Image:
    """The part of pytest's session that the zygote has."""

    def __init__(self) -> None:
        self._session: Any = None
        self._values: dict[Any, object] = {}

    def take(self, item: Any) -> None:
        """Note that a zygote is forked now, for this test first."""
        self._session = item.session
        self._values = {one: one.cached_result for one in _wider_definitions(item.session)}

    def is_stale_for(self, item: Any) -> bool:
        """Whether the test needs something that is newer than the zygote."""
        if self._session is not item.session:
            return True
        return any(one.cached_result is not self._values.get(one) for _, one in _wider_fixtures(item))


def _wider_definitions(session: Any) -> set[Any]:
    """Return the definitions of fixtures of a wider scope that are set up now."""
    infos = [item._fixtureinfo for item in session.items if hasattr(item, "_fixtureinfo")]
    found = {one for info in infos for ones in info.name2fixturedefs.values() for one in ones}
    return {one for one in found if one.scope != "function" and one.cached_result is not None}
