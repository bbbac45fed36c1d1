"""Puts back, between two tests of a reused rank, the state that a test may have changed in the rank's process.

    the rank starts --> RankReset.of_this_process() --> test --> restore() --> test --> restore() ...

The state is a fresh rank's before its first test: the controller's changes since then have to be applied again
after each `restore`, and so have the things that each test has of its own (its folders, output, descriptors, seeds).
State that cannot be put back is compared by `fingerprint`.
"""

from __future__ import annotations

import faulthandler
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch_testing_shim._engine.process_state import (
    State,
    changes_since,
    put_environ_back,
    state_of_this_process,
    take_on,
)
from torch_testing_shim._isolation.distributed_parts import destroy_groups, distributed_parts
from torch_testing_shim._isolation.interpreter_parts import forget_shown_warnings, interpreter_parts
from torch_testing_shim._isolation.kept_parts import Part, put_back
from torch_testing_shim._isolation.left_running import LeftRunning
from torch_testing_shim._isolation.process_flags import process_flags
from torch_testing_shim._isolation.torch_parts import leave_modes, reset_accelerator, torch_parts

__unittest = True  # unittest and pytest leave the frames of this module out of a report


@dataclass(frozen=True)
class RankReset:
    """The state of a rank before its first test."""

    process: State
    parts: tuple[tuple[Part, Any], ...]
    running: LeftRunning

    @classmethod
    def of_this_process(cls) -> RankReset:
        """Record the state of this process, a rank that has prepared itself and not begun a test."""
        gc.collect()
        gc.freeze()  # later collections look at what tests have made, and take no time otherwise
        parts = (*interpreter_parts(), *process_flags(), *torch_parts(), *distributed_parts())
        kept = tuple((part, part.read()) for part in parts)
        return cls(state_of_this_process(), kept, LeftRunning.now())

    def renewed(self) -> RankReset:
        """Record the state of this process anew."""
        parts = tuple((part, part.read()) for part, _ in self.parts)
        return RankReset(state_of_this_process(), parts, LeftRunning.now())

    def restore(self) -> tuple[str, ...]:
        """Put the state back. Return a sentence for each thing that could not be put back."""
        return tuple(sentence for sentence in self._restored() if sentence is not None)

    def _restored(self) -> Iterator[str | None]:
        yield _tried("process groups", destroy_groups)
        yield _tried("modes of torch", leave_modes)
        yield _tried("processes and threads", self.running.end)
        yield _tried("unreachable objects", gc.collect)  # whose finalizers may change what is put back now
        yield _tried("a dump of stacks", faulthandler.cancel_dump_traceback_later)
        yield _tried("os.environ", put_environ_back)
        yield _tried("state of the process", lambda: take_on(changes_since(state_of_this_process(), self.process)))
        for part, kept in self.parts:
            yield put_back(part, kept)
        yield _tried("warnings", forget_shown_warnings)
        gc.collect()
        yield _tried("the accelerator", reset_accelerator)


def _tried(name: str, step: Callable[[], object]) -> str | None:
    try:
        step()
    except Exception as error:
        return f"{name}: could not be put back ({type(error).__name__}: {error})"
    return None
