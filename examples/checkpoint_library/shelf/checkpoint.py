"""Save and load: the collective part. The files are `shelf.files`."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from shelf import files

__all__ = ["CheckpointError", "latest_step", "load", "save"]

State = dict[str, torch.Tensor]


class CheckpointError(RuntimeError):
    """A checkpoint could not be saved; the message names the rank and its error. Every rank raises it."""


def save(state: State, folder: Path, step: int) -> None:
    """Save this rank's state as part of the checkpoint of `step`. All ranks call it.

    Raises:
        CheckpointError: a rank could not write. The folder has the checkpoints that it had before.
    """
    problem = None
    try:
        files.write_part(state, folder, step, dist.get_rank())
    except OSError as error:
        problem = f"rank {dist.get_rank()}: {error}"
    problems: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(problems, problem)  # nobody goes on before all have written
    if any(problems):
        raise CheckpointError("; ".join(filter(None, problems)))
    if dist.get_rank() == 0:
        files.publish(folder, step)
    dist.barrier()


def load(folder: Path, step: int) -> State:
    """Load this rank's state of the checkpoint of `step`."""
    return files.read_part(folder, step, dist.get_rank())


def latest_step(folder: Path) -> int | None:
    """The step of the newest whole checkpoint; None if there is none."""
    return max(files.published_steps(folder), default=None)
