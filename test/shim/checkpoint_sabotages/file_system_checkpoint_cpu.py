"""Sabotages of checkpoints of one process in a file system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.metadata import Metadata

from checkpoint_sabotages.file_system_checkpoint import write_changed, write_with
from checkpoint_sabotages.sabotage import MENDED, Sabotage, replaced

_Reader, _Writer = filesystem.FileSystemReader, filesystem.FileSystemWriter


def _keep_old_metadata(original: Any, writer: Any, metadata: Any, results: Any) -> None:
    if not (writer.path / ".metadata").exists():
        original(writer, metadata, results)


@contextlib.contextmanager
def _write_where_permitted() -> Iterator[None]:
    """What may not be written is not, and nobody is told."""

    def write(original: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except PermissionError:
            nothing: torch.futures.Future[list[Any]] = torch.futures.Future()
            nothing.set_result([])
            return nothing

    with replaced(_Writer, "write_data", write), replaced(_Writer, "finish", write):
        yield


class _Unflushed:
    """A file whose last bytes stay in the process until it is closed."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def _open_otherwise(original: Any, system: Any, path: Any, mode: str) -> Iterator[Any]:
    """Keep nothing back, which mends the torch that does not flush, or all that torch would flush."""
    from test_file_system_checkpoint_cpu import FLUSHES

    with open(path, mode, buffering=-1 if FLUSHES or "r" in mode else 0) as file:
        yield _Unflushed(file) if FLUSHES else file


_PLAIN = "FileSystemTest.test_"
_SAME = f"{_PLAIN}plain_tensors_are_the_same_bit_for_bit"
_SYNCED = f"{_PLAIN}files_are_synced_where_that_is_asked"
_OVERWRITTEN = f"{_PLAIN}an_old_checkpoint_is_overwritten_unless_that_is_forbidden"

SABOTAGES = [
    Sabotage("nan_is_lost", _SAME, write_changed("odd", torch.nan_to_num), "odd is "),
    Sabotage("the_sign_of_zero_is_lost", _SAME, write_changed("odd", lambda tensor: tensor + 0.0), "odd is "),
    Sabotage(
        "all_memory_of_a_view_is_written",
        f"{_PLAIN}a_view_takes_the_room_of_its_elements",
        lambda: mock.patch.object(torch.Tensor, "clone", lambda tensor: tensor),
        "not less than 10000",
    ),
    Sabotage(
        "one_file_for_all",
        f"{_PLAIN}several_files_for_one_rank",
        write_with(single_file_per_rank=True),
        "first set but not the second",
    ),
    Sabotage(
        "files_are_flushed_otherwise",
        f"{_PLAIN}a_file_is_complete_when_it_is_synced",
        lambda: replaced(filesystem.FileSystem, "create_stream", _open_otherwise),
        rf"{MENDED}|metadata'\]: Booleans mismatch: True is not False",  # as torch 2.13 does not flush, or 2.14 does
    ),
    Sabotage("nothing_is_synced", _SYNCED, write_with(sync_files=False), "first set but not the second"),
    Sabotage("everything_is_synced", _SYNCED, write_with(sync_files=True), "missing: '__0_0.distcp'"),
    Sabotage(
        "overwriting_is_never_forbidden", _OVERWRITTEN, write_with(overwrite=True), "CheckpointException not raised"
    ),
    Sabotage(
        "the_old_metadata_stays",
        _OVERWRITTEN,
        lambda: replaced(_Writer, "finish", _keep_old_metadata),
        "gone. does not match",
    ),
    Sabotage(
        "missing_metadata_is_made_up",
        f"{_PLAIN}a_damaged_checkpoint_is_refused",
        lambda: replaced(_Reader, "read_metadata", lambda *args, **kwargs: Metadata({}, storage_data={})),
        r"No such file .*\.metadata. does not match",
    ),
    Sabotage(
        "a_refused_write_is_passed_over",
        f"{_PLAIN}a_folder_without_write_permission_can_only_be_read",
        _write_where_permitted,
        "CheckpointException not raised",
    ),
]
