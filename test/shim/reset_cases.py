"""Cases of things that a test changes in a rank's process and `RankReset` puts back, run in one forked process."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from torch_testing_shim._isolation.rank_reset import RankReset

_Change = Callable[[], object]


class Cases:
    """Functions that change something, by their names, each with one that reads it."""

    def __init__(self) -> None:
        self._cases: dict[str, tuple[Callable[[], Any], _Change]] = {}

    def changes(self, read: Callable[[], Any]) -> Callable[[_Change], _Change]:
        """Make a case of a function that changes something: `read` returns that thing."""

        def decorate(change: _Change) -> _Change:
            assert change.__name__ not in self._cases, change.__name__
            self._cases[change.__name__] = (read, change)
            return change

        return decorate

    def run(self, reset: RankReset | None = None) -> dict[str, str]:
        """Run the cases one after the other, with a reset after each. Return what went wrong with those that failed."""
        reset = reset or RankReset.of_this_process()
        return {name: wrong for name in self._cases if (wrong := self._wrong_in(name, reset))}

    def _wrong_in(self, name: str, reset: RankReset) -> str:
        read, change = self._cases[name]
        try:
            before = read()
            change()
            if read() == before:
                return "the case changes nothing"
            if sentences := reset.restore():
                return "; ".join(sentences)
            after = read()
            return "" if after == before else f"{after!r}, was {before!r}"
        except Exception:
            return traceback.format_exc()

    def run_forked(self) -> dict[str, str]:
        """Run the cases in a fork of this process."""
        return forked(self.run)


def forked(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a fork of this process that leads a process group, as a rank does; by JSON."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        try:
            os.setpgid(0, 0)
            answer = json.dumps(function())
        except BaseException:
            answer = json.dumps(traceback.format_exc())
        with os.fdopen(write_end, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)
