"""Points at which a fault strikes: the n-th collective, transfer or call of a rank inside the block. Descriptions
only."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class CommunicationPoint:
    """The n-th collective or transfer."""

    nth: int  # counted from 1
    name: str | None = None  # only what has this name counts
    is_transfer: bool = False  # point-to-point calls count, not collectives

    def __post_init__(self) -> None:
        _check_nth(self.nth)

    def matches(self, name: str, is_transfer: bool) -> bool:
        return is_transfer == self.is_transfer and self.name in (None, name)

    @property
    def noun(self) -> str:
        return self.name or ("transfer" if self.is_transfer else "collective")

    def __str__(self) -> str:
        return f"its {ordinal(self.nth)} {self.noun}"


@dataclass(frozen=True)
class CallPoint:
    """The n-th call of a function."""

    owner: type | ModuleType  # has the functions
    functions: tuple[str, ...]  # calls of all of them are counted together
    nth: int  # counted from 1
    after: bool  # strike when the call has returned, not before it begins
    noun: str  # what people call such a call

    def __post_init__(self) -> None:
        _check_nth(self.nth)
        for name in self.functions:
            if not callable(getattr(self.owner, name, None)):
                raise ValueError(f"{self.owner.__name__} has no function {name!r}")
            if isinstance(self.owner, type) and isinstance(
                inspect.getattr_static(self.owner, name), staticmethod | classmethod
            ):
                raise ValueError(f"{self.owner.__name__}.{name} is no method of instances; its calls cannot be counted")

    def __str__(self) -> str:
        return f"{'the end of ' if self.after else ''}its {ordinal(self.nth)} {self.noun}"


Point = CommunicationPoint | CallPoint


def collective(nth: int = 1, name: str | None = None) -> CommunicationPoint:
    """The n-th collective that the rank enters inside the block; it is struck before it begins.

    Args:
        nth: counted from 1.
        name: count only collectives of this name: `torch.distributed`'s ("all_gather", "all_gather_object"), which
            functional collectives have too ("all_gather_into_tensor"); None for all.

    Raises:
        ValueError: nth is not a positive int.
    """
    return CommunicationPoint(nth, name)


def transfer(nth: int = 1, name: str | None = None) -> CommunicationPoint:
    """The n-th point-to-point call of the rank; a batch of them counts one by one.

    Args:
        nth: as for `collective`.
        name: count only "send", "recv", "send_object_list" or "recv_object_list"; None for all.
    """
    return CommunicationPoint(nth, name, is_transfer=True)


def write(nth: int = 1) -> CallPoint:
    """The n-th item (tensor or bytes) that the rank's checkpoint `StorageWriter` asks its planner for, to write it;
    `nth` is as for `collective`.

    Of any writer: `StorageWriter.write_data` is documented to call `SavePlanner.resolve_data` for each item. The items
    before it have been handed to the writer's file, which may still hold them in a buffer.
    """
    from torch.distributed.checkpoint.planner import SavePlanner

    return CallPoint(SavePlanner, ("resolve_data",), nth, after=False, noun="write")


def read(nth: int = 1) -> CallPoint:
    """The n-th item that the rank's checkpoint `StorageReader` hands to its planner, before the planner takes it; `nth`
    is as for `collective`."""
    from torch.distributed.checkpoint.planner import LoadPlanner

    return CallPoint(LoadPlanner, ("load_bytes", "resolve_tensor"), nth, after=False, noun="read")


def call(owner: type | ModuleType, function: str, nth: int = 1, *, after: bool = False) -> CallPoint:
    """The n-th call of a function: `call(StorageWriter, "finish")`, `call(os, "fsync")`.

    Args:
        owner: a class, whose subclasses' own versions are counted too (a version that calls its base's is one call),
            or a module.
        function: name of a method of the class's instances, or of a function of the module. Calls by a name that
            was imported from the module before the block do not count.
        nth: as for `collective`.
        after: strike when the call has returned, not before it begins.

    Raises:
        ValueError: there is no such function, or nth is not a positive int.
    """
    return CallPoint(owner, (function,), nth, after, f"{owner.__name__}.{function}()")


def ordinal(number: int) -> str:
    """Write an ordinal number: "1st", "2nd", "11th"."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _check_nth(nth: int) -> None:
    if not isinstance(nth, int) or isinstance(nth, bool) or nth < 1:
        raise ValueError(f"nth must be a positive int, not {nth!r}")
