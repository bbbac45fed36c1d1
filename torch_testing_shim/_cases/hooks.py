"""Methods of upstream's base classes that subclasses override.

This harness calls nearly all of them as upstream does. A class that overrides one of the others fails at its first
test, instead of having its method silently left out. A class that makes its own kind of process gets a `RankCall` in
place of `multiprocessing.Process`, and a rank runs what it makes.
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
from torch_testing_shim._shared.main_part import PACKAGE

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def is_overridden(cls: type, base: type, name: str) -> bool:
    """Return whether a class differs from `base`, a base class of it, in an attribute that `base` may lack."""
    return inspect.getattr_static(cls, name, None) is not inspect.getattr_static(base, name, None)


def has_own(case: object, name: str) -> bool:
    """Return whether a test case has a method of this name that is not this package's. Its arguments mean what its
    author wants: the name of a backend may be anything."""
    method = getattr(type(case), name, None)
    return method is not None and getattr(method, "__module__", "").partition(".")[0] != PACKAGE


def takes(function: Callable[..., Any], *args: Any) -> bool:
    """Return whether a function can be called with these arguments: a hook may have those of an older torch."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class RankCall:
    """A call in a rank, with the arguments of `multiprocessing.Process`; a class may use it in place of that."""

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
        """Refuse: the harness starts all ranks at once."""
        owner = getattr(getattr(self.target, "__self__", None), "__name__", "the class")
        raise LaunchError(
            f"no rank was started: {owner} overrides _start_processes and calls start() by itself; "
            "it has to call super()._start_processes(proc), which starts what proc makes"
        )


def calls_of_its_own(
    proc: Callable[..., Any], target: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]
) -> dict[int, object]:
    """Return what `proc` makes, by rank, for the ranks for which it is more than the call of `target`.

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
    """Make a pipe for each rank: the controller's end, and the rank's."""
    pipes: list[tuple[Connection, Connection]] = []
    try:
        for _ in range(count):
            pipes.append(Pipe())
    except OSError as error:
        for end in itertools.chain(*pipes):
            end.close()
        raise LaunchError(too_few(error, 0, count)) from None
    return pipes
