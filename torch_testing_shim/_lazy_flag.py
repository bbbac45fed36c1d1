"""A flag that is asked when somebody wants to know it, not when it is imported."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LazyFlag"]


class LazyFlag:
    """True or false by `ask()`, which is called once, and only when the flag is used as a truth value or compared.

    Unlike a module's lazy attribute it stays unasked through `from module import FLAG`.
    """

    __hash__ = None  # type: ignore[assignment]  # it equals a bool, whose hash it must not need to know

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._answer: bool | None = None

    def __bool__(self) -> bool:
        if self._answer is None:
            self._answer = bool(self._ask())
        return self._answer

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __repr__(self) -> str:
        return repr(bool(self))
