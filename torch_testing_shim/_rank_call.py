"""What each rank is to run, as `_start_processes` has it made: a `RankCall`, or a process object of the class's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch_testing_shim._engine.running_ranks import LaunchError

__all__ = ["RankCall"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


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
