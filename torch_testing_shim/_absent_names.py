"""Names that stand for a part of PyTorch's own build: importing one is fine, using it raises an error that says so.

Test files import such names beside others, so an import must not fail; what a name is used for cannot be had here.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["AbsentName", "AbsentNameError"]


class AbsentNameError(NotImplementedError):
    """A name was used that only makes sense inside PyTorch's own build; the message is one sentence."""


class AbsentName:
    """Raises AbsentNameError when it is called, iterated, measured, added to, subclassed or asked for an attribute.

    Args:
        full_name: upstream's, with its module.
        reason: what it holds there, as the end of a sentence.
    """

    def __init__(self, full_name: str, reason: str) -> None:
        self._full_name, self._reason = full_name, reason

    def __repr__(self) -> str:
        return f"<{self._full_name}, which is not here>"

    def absent(self) -> NoReturn:
        """
        Raises:
            AbsentNameError: always.
        """
        raise AbsentNameError(f"{self._full_name} cannot be used outside of PyTorch's own build: it {self._reason}")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what unittest, pytest and inspect look for on anything
            raise AttributeError(name)
        self.absent()

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.absent()

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        self.absent()

    def __iter__(self) -> NoReturn:
        self.absent()

    def __len__(self) -> NoReturn:
        self.absent()

    def __bool__(self) -> NoReturn:
        self.absent()

    def __getitem__(self, index: Any) -> NoReturn:
        self.absent()

    def __contains__(self, item: object) -> NoReturn:
        self.absent()

    def __add__(self, other: object) -> NoReturn:
        self.absent()

    __radd__ = __add__
