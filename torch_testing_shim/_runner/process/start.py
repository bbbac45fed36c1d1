"""Start a test file's process: by a fork of the warm interpreter, or in a new interpreter.

warm   the file imports torch, and other processes that import it will follow: one import serves them all
cold   a new interpreter, where a fork would save nothing, where the user wants it (`--cold`), or where a fork would
       differ from `python FILE`; a line gives the reason, except for the first two
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from ..usage_error import UsageError
from ..warm.handle import PRELOAD, SpoiledInterpreter, WarmInterpreter, WarmRefusal
from .child_process import ChildProcess, start_child
from .command import FileCommand, own_interpreter


def environment_of(command: FileCommand) -> dict[str, str]:
    """The environment of every process that runs `command`: this process's own, with the variables of the command."""
    environment = {**os.environ, **command.assignments()}
    if command.package is not None and os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join([command.package, os.environ["PYTHONPATH"]])
    environment["PYTHONUNBUFFERED"] = "1"  # or the last words of a killed process would be lost in its buffer
    return environment


class Starter:
    """Starts processes, and keeps the warm interpreter of this run.

    Args:
        folder: for folders of interpreters; it exists.
        say: prints one line.
        is_cold: every file gets a new interpreter.
        preload: modules that the interpreter imports before it is ready.
    """

    def __init__(
        self, folder: Path, say: Callable[[str], None], *, is_cold: bool = False, preload: Sequence[str] = PRELOAD
    ) -> None:
        self._folder = folder
        self._say = say
        self._is_cold = is_cold
        self._preload = tuple(preload)
        self._warm: WarmInterpreter | None = None
        self._spoiling: dict[str, str] = {}  # modules that have spoiled an interpreter: how

    @property
    def own_pids(self) -> frozenset[int | None]:
        """The children that this starter waits for itself."""
        return frozenset() if self._warm is None else frozenset({self._warm.pid})

    @property
    def is_warm(self) -> bool:
        """True where there is a warm interpreter already."""
        return self._warm is not None

    @property
    def is_starting(self) -> bool:
        """True where a child may exist whose process id is not known yet."""
        return self._warm is not None and self._warm.is_starting_a_file

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that become readable when the warm interpreter has news for a start that waits for it."""
        return [] if self._warm is None else [self._warm.descriptor]

    def start(
        self, command: FileCommand, output: int, folder: Path, *, is_warm: bool = False
    ) -> Generator[None, None, ChildProcess]:
        """Yield until the process has started; return it.

        Args:
            output: the descriptor that it prints to.
            folder: its private folder.
            is_warm: it is worth a warm interpreter.
        """
        environment = environment_of(command)
        if is_warm and not self._is_cold:
            try:
                return (yield from self._start_warm(command, environment, output, folder))
            except WarmRefusal as refusal:
                if not self._is_cold:  # which has been said
                    self._say(f"{command.name} runs in a new interpreter: {refusal}")
        try:
            return start_child(command.words, environment, output)
        except (OSError, ValueError) as error:  # a word of the command has a NUL in it, as a test's name may
            raise UsageError(f"cannot start {command.name}: {error}") from error

    def count_devices(self, command: FileCommand) -> Generator[None, None, int]:
        """Yield until a warm interpreter has counted the accelerators that files such as the command's will use; 0
        where it cannot."""
        try:
            warm = self._interpreter(environment_of(command))
            yield from warm.make_ready()
            return warm.device_count or 0
        except WarmRefusal as refusal:
            self._give_up(refusal)
            return 0
        finally:
            if self._is_cold:
                self.close()

    def close(self) -> None:
        """End the interpreter."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def _start_warm(
        self, command: FileCommand, environment: Mapping[str, str], output: int, folder: Path
    ) -> Generator[None, None, ChildProcess]:
        if command.interpreter != own_interpreter() or command.measured_by:
            raise WarmRefusal("its command is not `python FILE`")
        if any(name.startswith("COVERAGE_") for name in environment):
            raise WarmRefusal("coverage has to see its imports")
        try:
            warm = self._interpreter(environment)
            yield from warm.make_ready()
        except WarmRefusal as refusal:
            self._give_up(refusal)
            raise
        if different := warm.differences(environment):
            raise WarmRefusal(f"it has another {', '.join(different)} than the interpreter that files are forked from")
        try:
            return (yield from warm.launch(command, environment, folder / "order.json", output, self._spoiling))
        except SpoiledInterpreter as refusal:
            self._spoiling[refusal.module] = str(refusal)
            self.close()
            raise
        except WarmRefusal as refusal:
            if not warm.is_usable and warm is self._warm:
                self._give_up(refusal)
            raise

    def _interpreter(self, environment: Mapping[str, str]) -> WarmInterpreter:
        if self._warm is None:
            self._warm = WarmInterpreter.start(environment, self._folder, self._preload)
        return self._warm

    def _give_up(self, why: WarmRefusal) -> None:
        """Start all further processes cold, and say so once."""
        if not self._is_cold:
            self._say(f"test files run in new interpreters: {why}")
        self._is_cold = True
        self.close()
