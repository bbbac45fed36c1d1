"""What a rank leaves on its host's disk, so that its neighbours can tell of it once it has died: its word, its output.

A rank whose test has raised, or has passed, may die before the others have heard of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._engine.collectives import read_log
from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.watchdog import tail_of
from torch_testing_shim._shared.owned_folders import folders_of_dead


def write_word(folder: ScratchFolder, key: str, said: RankOutcome | None, subtests: Sequence[RankOutcome]) -> None:
    """Write how far the rank of this process has come in the test of this key: `said` is the outcome of its body."""
    if said is not None or subtests:
        word = [key, said and said.to_json(), [one.to_json() for one in subtests]]
        with suppress(OSError):  # the disk is full, no descriptor is left, or the test has removed the folder
            folder.word(said.rank if said else subtests[0].rank).write_text(json.dumps(word))


def with_remains(dead: RankOutcome, beside: Path, key: str) -> RankOutcome:
    """Return the outcome of a rank of this host that has died, with what it has left of the test.

    Args:
        dead: how its process ended.
        beside: the place of scratch folders.
        key: the test's.
    """
    for path in folders_of_dead(str(beside), dead.pid):
        folder = ScratchFolder(path)
        said, subtests = _read_word(folder.word(dead.rank), key)
        output, collectives = tail_of(folder.output(dead.rank)), read_log(folder.collectives(dead.rank))
        if said is not None or subtests or output or collectives is not None:
            told = replace(dead, finished=said is not None)
            if said is not None and said.status.is_exception:
                told = replace(said, rank=dead.rank, pid=dead.pid, exit_code=dead.exit_code, finished=True)
            return replace(told, output=output, collectives=collectives, subtests=tuple(subtests))
    return dead


def _read_word(path: Path, key: str) -> tuple[RankOutcome | None, list[RankOutcome]]:
    with suppress(OSError, ValueError):  # there is none, or it is torn
        of_test, said, subtests = json.loads(path.read_text())
        if of_test == key:
            return said and RankOutcome.from_json(said), [RankOutcome.from_json(one) for one in subtests]
    return None, []
