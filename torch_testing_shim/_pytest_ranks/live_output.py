"""Ranks' output while they run, each line prefixed by its rank: pytest's `-s`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch_testing_shim._engine.running_ranks import RunningRanks

#: Seconds between two looks for new lines.
_LOOK_SECONDS = 0.05


@contextmanager
def shown_live(config: Any, ranks: RunningRanks) -> Iterator[None]:
    """Print what the ranks print while the block runs, where pytest captures nothing."""
    if config.getoption("capture", "no") != "no":
        yield
        return
    tails = [_Tail(job.rank, job.folder.output(job.rank)) for job in ranks.jobs]
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(tails, over), name="output of ranks")
    thread.start()  # ranks have been forked; before others are, it has ended
    try:
        yield
    finally:
        over.set()
        thread.join()
        for tail in tails:
            tail.show(is_over=True)


def _follow(tails: list[_Tail], over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        for tail in tails:
            tail.show()


class _Tail:
    """The output of one rank, from where it was shown last."""

    def __init__(self, rank: int, path: Path) -> None:
        self._rank = rank
        self._path = path
        self._shown = 0

    def show(self, *, is_over: bool = False) -> None:
        """Print the lines that are new; a line without an end is shown when all is over."""
        try:
            with open(self._path, "rb") as stream:
                stream.seek(self._shown)
                new = stream.read()
        except FileNotFoundError:
            return
        end = len(new) if is_over else new.rfind(b"\n") + 1
        self._shown += end
        for line in new[:end].decode(errors="replace").splitlines():
            print(f"[rank {self._rank}] {line}", file=sys.stdout, flush=True)
