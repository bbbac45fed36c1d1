"""Checks that each rank makes alone and whose result all ranks share. Not upstream's; our own.

A check of a rank's own shard that fails on one rank alone leaves the others in their next collective until that times
out. In `agreed_between_ranks` the ranks exchange their results, so all of them end at once, and the report leads with
the rank whose part was wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from torch_testing_shim._engine.outcome import PeerFailedError, ranks_text

__all__ = ["PeerFailedError", "agreed_between_ranks"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@contextmanager
def agreed_between_ranks(group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Run a block that checks something local, then make all ranks of the group fail if one did.

    The block must not call a collective, since a rank that fails leaves it early. Without a process group the block
    just runs.

    Args:
        group: the process group; by default all ranks.

    Raises:
        BaseException: what the block raised, in a rank where it did.
        PeerFailedError: another rank's block raised; the message names that rank and what it said.
    """
    failure: BaseException | None = None
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        failure = error
    if dist.is_initialized():
        answers: list[str | None] = [None] * dist.get_world_size(group)
        dist.all_gather_object(answers, None if failure is None else str(failure), group=group)
    else:
        answers = []
    if failure is not None:
        raise failure
    failed = [rank for rank, answer in enumerate(answers) if answer is not None]
    if failed:
        raise PeerFailedError(f"{ranks_text(failed)} failed: {answers[failed[0]]}")
