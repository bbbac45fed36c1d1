"""The files of a checkpoint: `step-5.part/rank-0.pt` while it is written, `step-5/rank-0.pt` when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["publish", "published_steps", "read_part", "write_part"]


def write_part(state: dict[str, torch.Tensor], folder: Path, step: int, rank: int) -> None:
    """Write what one rank has."""
    part = folder / f"step-{step}.part"
    part.mkdir(parents=True, exist_ok=True)
    torch.save(state, part / f"rank-{rank}.pt")


def publish(folder: Path, step: int) -> None:
    """Give a checkpoint its name, when all have written: from now on it is read."""
    os.rename(folder / f"step-{step}.part", folder / f"step-{step}")


def published_steps(folder: Path) -> Iterator[int]:
    """The steps of all whole checkpoints, in no order."""
    for path in folder.glob("step-*"):
        if path.suffix != ".part":
            yield int(path.name.removeprefix("step-"))


def read_part(folder: Path, step: int, rank: int) -> dict[str, torch.Tensor]:
    """Read what one rank had written."""
    return torch.load(folder / f"step-{step}" / f"rank-{rank}.pt", weights_only=True)
