"""Methods of upstream's base classes that subclasses put others in place of.

Nearly all are called here as upstream calls them. A class that overrides one of the few others is told so at its first
test: what it does there would silently be left out. A class that starts processes of its own kind has its way by a
`RankCall`: a rank runs what it makes of that.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.running_ranks import too_few

__all__ = ["RankCall", "calls_of_its_own", "is_overridden", "make_pipes", "refuse_hooks", "takes"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def is_overridden(cls: type, base: type, name: str) -> bool:
    """Whether a class has something else than `base`, a base of it, under a name that `base` may lack."""
    return inspect.getattr_static(cls, name, None) is not inspect.getattr_static(base, name, None)


def refuse_hooks(cls: type, base: type, refused: Mapping[str, str]) -> None:
    """Checks that a class overrides nothing that is not called here.

    Args:
        cls: the class.
        base: the base class, of this package.
        refused: names -> what this harness does instead.

    Raises:
        LaunchError: it does.
    """
    for name, instead in refused.items():
        if is_overridden(cls, base, name):
            raise LaunchError(f"{cls.__name__} overrides {name}, which this harness does not call: {instead}")


def takes(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function can be called with these arguments: a hook may have those of an older torch."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class RankCall:
    """A call in a rank. Its arguments are those of `multiprocessing.Process`, for which a class may put it."""

    group: None = None
    target: Callable[..., Any] | None = None
    name: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    daemon: bool | None = None

    def run(self) -> None:
        if self.target is not None:
            self.target(*self.args, **self.kwargs)

    def start(self) -> NoReturn:
        """
        Raises:
            LaunchError: always: ranks are started all at once, by the harness.
        """
        owner = getattr(getattr(self.target, "__self__", None), "__name__", "the class")
        raise LaunchError(
            f"no rank was started: {owner} overrides _start_processes and calls start() by itself; "
            "it has to call super()._start_processes(proc), which starts what proc makes"
        )


def calls_of_its_own(
    proc: Callable[..., Any], target: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]
) -> dict[int, object]:
    """What `proc` makes for ranks, by rank, of those for which it is not simply the call of `target`.

    Args:
        proc: is called as `multiprocessing.Process`.
        target: what a rank calls.
        arguments: its arguments, by rank.
        kwargs: its keyword arguments in all ranks.
    """
    calls: list[dict[str, Any]] = [
        {"target": target, "name": f"process {rank}", "args": args} for rank, args in enumerate(arguments)
    ]
    made = [proc(**call, kwargs=kwargs) for call in calls]
    return {rank: each for rank, each in enumerate(made) if each != RankCall(**calls[rank], kwargs=kwargs)}


def make_pipes(count: int) -> list[tuple[Connection, Connection]]:
    """A pipe for each rank: the controller's end, and the rank's.

    Raises:
        LaunchError: the system has no more descriptors to give.
    """
    pipes: list[tuple[Connection, Connection]] = []
    try:
        for _ in range(count):
            pipes.append(Pipe())
    except OSError as error:
        for end in itertools.chain(*pipes):
            end.close()
        raise LaunchError(too_few(error, 0, count)) from None
    return pipes
