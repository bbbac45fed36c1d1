"""How a test file's process starts: forked from a warm interpreter, or as a new one.

warm   the file imports torch, and other processes that do are to come: one import serves them all
cold   a new interpreter, where nothing would be saved, where the user wants it (`--cold`), and where a fork would
       not be the same as `python FILE`; a line says why, unless it is for the first two reasons
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._runner.warm.fork_order import WarmOrder
from torch_testing_shim._shared.main_part import PACKAGE

from ..usage_error import UsageError
from ..warm.handle import PRELOAD, WarmInterpreter, WarmRefusal
from .child_process import ChildProcess, start_child
from .command import FileCommand, own_interpreter

__all__ = ["StartOrder", "Starter", "imports_torch"]

#: An import of torch, or of a module of this package that imports torch: those without an underscore.
TORCH_IMPORT = re.compile(rb"^\s*(import|from)\s+(torch\b|torch_testing_shim\.[a-z])", re.MULTILINE)


def imports_torch(source: bytes) -> bool:
    """True for a test file that imports torch itself, as far as its source tells."""
    return TORCH_IMPORT.search(source) is not None


@dataclass(frozen=True)
class StartOrder:
    """One process to start.

    Attributes:
        command: what it runs.
        environment: its whole environment.
        output: the descriptor that it prints to.
        folder: its private folder.
        is_warm: it is worth a warm interpreter.
    """

    command: FileCommand
    environment: Mapping[str, str]
    output: int
    folder: Path
    is_warm: bool = False


class Starter:
    """Starts processes, and keeps the warm interpreter of this run.

    Args:
        folder: for the interpreter's own output; it exists.
        say: prints one line.
        is_cold: every file gets a new interpreter.
        preload: what the interpreter imports before it is ready.
    """

    def __init__(
        self, folder: Path, say: Callable[[str], None], *, is_cold: bool = False, preload: Sequence[str] = PRELOAD
    ) -> None:
        self._folder = folder
        self._say = say
        self._is_cold = is_cold
        self._preload = tuple(preload)
        self._warm: WarmInterpreter | None = None

    @property
    def own_pids(self) -> frozenset[int | None]:
        """The children that this starter waits for itself."""
        return frozenset() if self._warm is None else frozenset({self._warm.pid})

    @property
    def is_warm(self) -> bool:
        """There is a warm interpreter already."""
        return self._warm is not None

    @property
    def is_starting(self) -> bool:
        """A child may be there whose process id is not known yet."""
        return self._warm is not None and self._warm.is_starting_a_file

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when a start goes on that waits for the warm interpreter."""
        return [] if self._warm is None else [self._warm.descriptor]

    def start(self, order: StartOrder) -> Generator[None, None, ChildProcess]:
        """Yields until the process has started; returns it.

        Raises:
            UsageError: it cannot be started in either way.
        """
        if order.is_warm and not self._is_cold:
            try:
                return (yield from self._start_warm(order))
            except WarmRefusal as refusal:
                if not self._is_cold:  # which has been said
                    self._say(f"{order.command.name} runs in a new interpreter: {refusal}")
        try:
            return start_child(order.command.words, order.environment, order.output)
        except (OSError, ValueError) as error:  # a word of the command has a NUL in it, as a test's name may
            raise UsageError(f"cannot start {order.command.name}: {error}") from error

    def count_devices(self, environment: Mapping[str, str]) -> Generator[None, None, int]:
        """Yields until a warm interpreter has counted the accelerators that files will use; 0 where it cannot."""
        try:
            warm = self._interpreter(environment)
            yield from warm.make_ready()
            return warm.device_count or 0
        except WarmRefusal as refusal:
            self._give_up(refusal)
            return 0
        finally:
            if self._is_cold:
                self.close()

    def close(self) -> None:
        """Ends the interpreter."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def _start_warm(self, order: StartOrder) -> Generator[None, None, ChildProcess]:
        warm_order = _warm_order(order)
        if any(name.startswith("COVERAGE_") for name in order.environment):
            raise WarmRefusal("coverage has to see its imports")
        try:
            warm = self._interpreter(order.environment)
            yield from warm.make_ready()
        except WarmRefusal as refusal:
            self._give_up(refusal)
            raise
        if different := warm.differences(order.environment):
            raise WarmRefusal(f"it has another {', '.join(different)} than the interpreter that files are forked from")
        try:
            return (yield from warm.launch(warm_order, order.folder / "order.json", order.output))
        except WarmRefusal as refusal:
            if not warm.is_usable:
                self._give_up(refusal)
            raise

    def _interpreter(self, environment: Mapping[str, str]) -> WarmInterpreter:
        if self._warm is None:
            self._warm = WarmInterpreter.start(environment, self._folder / "warm.txt", self._preload)
        return self._warm

    def _give_up(self, why: WarmRefusal) -> None:
        """Has all that is still to come started cold, and says so once."""
        if not self._is_cold:
            self._say(f"test files run in new interpreters: {why}")
        self._is_cold = True
        self.close()


def _warm_order(order: StartOrder) -> WarmOrder:
    """The same for a warm interpreter.

    Raises:
        WarmRefusal: its command is neither `python FILE` nor `python -m torch_testing_shim ... FILE`.
    """
    command = order.command
    is_harness = command.launcher[:2] == ("-m", PACKAGE)
    if command.interpreter != own_interpreter() or (command.launcher and not is_harness):
        raise WarmRefusal("its command is not `python FILE`")
    harness = command.launcher[2:] if is_harness else None
    fixed = (command.interpreter, command.path, command.arguments, order.environment)
    return WarmOrder(*fixed, harness, command.nodes)
