"""The storage under test, as the checks see it; and torch's own, with which a trial that fails is repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from torch_testing_shim.conformance._model import Branches
from torch_testing_shim.conformance._selection import Selection
from torch_testing_shim.conformance._strategies import Strategy

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class Storage:
    """The storage of a test case; the fields are its methods and attributes of the same names."""

    writer: Callable[[str], StorageWriter]
    reader: Callable[[str], StorageReader]
    planner: Callable[[], tuple[SavePlanner | None, LoadPlanner | None]]
    build: Callable[[Strategy, Branches, int], nn.Module]
    selection: Selection

    def save(
        self,
        state: dict[str, Any],
        path: str,
        planner: SavePlanner | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        """Save a state in all ranks of a process group, the default one unless another is given."""
        save(state, storage_writer=self.writer(path), planner=planner or self.planner()[0], process_group=group)

    def load(self, state: dict[str, Any], path: str, planner: LoadPlanner | None = None) -> None:
        """Load into a state in all ranks of the default process group."""
        load(state, storage_reader=self.reader(path), planner=planner or self.planner()[1])

    def with_torchs_files(self) -> Storage:
        """Return the same with the writer, the reader and the planners that come with torch, and the strategies' own
        way to spread a model."""
        return replace(
            self, writer=FileSystemWriter, reader=FileSystemReader, planner=lambda: (None, None), build=_spread
        )


def _spread(strategy: Strategy, model: Branches, ranks: int) -> nn.Module:
    return strategy.build(model, ranks, model.scale.device.type)
