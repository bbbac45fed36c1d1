"""Upstream's `distributed.checkpoint_utils`: a temporary folder that all ranks share."""

from __future__ import annotations

import functools
import shutil
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch.distributed as dist

from torch_testing_shim._cases.threads.thread_world import after_thread_ranks, has_thread_ranks
from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.joined.world import JOINED, JoinedWorld
from torch_testing_shim._engine.rank_steps import ends_forked_children
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import served

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])


def with_temp_dir(func: Test | None = None) -> Test:
    """Give a test a new folder, `self.temp_dir` (upstream's `with_temp_dir`, torch 2.13).

    Ranks share one folder where there is a process group when the test begins, so put this decorator below
    `with_comms`. Without a process group each rank has a folder of its own. A shared folder is removed when the last
    rank has ended the test (upstream's by the rank that returns first), another one when the test returns. Under
    torchrun on several hosts it lies in the folder that TORCH_TESTING_SHIM_SHARED_DIR names, and the test skips without
    one.

    Raises:
        AssertionError: called without a function, as upstream.
    """
    if func is None:
        raise AssertionError("with_temp_dir takes no arguments: write @with_temp_dir, without parentheses")

    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.temp_dir, is_removed_later = _folder_of(self)
        try:
            with ends_forked_children():
                return func(self, *args, **kwargs)
        finally:
            if not is_removed_later:
                shutil.rmtree(self.temp_dir, ignore_errors=True)

    return cast(Test, wrapper)


__getattr__ = served(__name__)


def _folder_of(test_case: Any) -> tuple[str, bool]:
    """Return a new folder, and whether somebody else removes it once all ranks have ended the test."""
    if not (dist.is_available() and dist.is_initialized()):
        return tempfile.mkdtemp(), False
    if JOINED.world is not None and not has_thread_ranks():
        return _folder_across_hosts(JOINED.world), True
    meeting_file = getattr(test_case, "file_name", None) or getattr(test_case, "rdvz_file", None)
    if getattr(test_case, "rank", -1) < 0 or meeting_file is None:
        return _broadcast_folder()
    scratch = ScratchFolder(Path(meeting_file).parent)
    if not scratch.state.exists():  # the test uses the name for a file of its own
        return _broadcast_folder()
    return _counted_folder(test_case, scratch), True


def _counted_folder(test_case: Any, scratch: ScratchFolder) -> str:
    """Return a folder that processes of the harness agree on without a message, each by counting its calls. The
    controller removes it."""
    calls = test_case.__dict__.get("_temp_dirs_made", 0)
    test_case.__dict__["_temp_dirs_made"] = calls + 1
    folder = scratch.shared / str(calls)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(folder)


def _folder_across_hosts(world: JoinedWorld) -> str:
    """Return a folder that rank 0 makes where all hosts see it.

    Raises:
        unittest.SkipTest: no setting names a folder that the hosts share.
        FileNotFoundError: they do not share the one that it names.
    """
    place = read_settings().shared_folder
    if place is None and len(world.hosts) > 1:
        raise unittest.SkipTest("needs a folder that all hosts share: set TORCH_TESTING_SHIM_SHARED_DIR")
    folders = [tempfile.mkdtemp(dir=place) if dist.get_rank() == 0 else ""]
    world.current.folders.extend(filter(None, folders))
    dist.broadcast_object_list(folders)
    if not Path(folders[0]).is_dir():
        shared = f"TORCH_TESTING_SHIM_SHARED_DIR={place}"
        raise FileNotFoundError(f"{world.own.host} does not see the folder of {world.hosts[0]}: {shared} is not shared")
    return folders[0]


def _broadcast_folder() -> tuple[str, bool]:
    """Return a folder that rank 0 makes and send to the others: threads of this process, or processes that are not the
    harness's."""
    is_first, is_thread = dist.get_rank() == 0, has_thread_ranks()
    folders = [tempfile.mkdtemp()] if is_first else [""]
    if is_first and is_thread:
        after_thread_ranks(shutil.rmtree, folders[0], ignore_errors=True)
    dist.broadcast_object_list(folders)
    return folders[0], is_thread or not is_first
