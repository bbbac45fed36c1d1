"""Upstream's `distributed.checkpoint_utils`: a temporary folder that all ranks share; logging; a stream transform."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._upstream.graft import served

# Without Rot13Example and its registry: `import *` must not import torch.distributed.checkpoint.
__all__ = ["with_checkpoint_logging", "with_temp_dir"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])


def with_temp_dir(func: Test | None = None) -> Test:
    """Gives a test a fresh folder, `self.temp_dir` (upstream's `with_temp_dir`, torch 2.13).

    In a `MultiProcessTestCase` every rank gets the same folder, with a process group or without one. It lies in the
    test's scratch folder, which the controller removes after the last rank has ended. (Upstream's is removed by the
    rank that returns first.) In another test case the folder is removed when the test returns.

    Raises:
        AssertionError: it is called without a function, as upstream.
    """
    if func is None:
        raise AssertionError("with_temp_dir takes no arguments: write @with_temp_dir, without parentheses")

    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        shared = _shared_folder(self)
        self.temp_dir = str(shared) if shared else tempfile.mkdtemp()
        try:
            func(self, *args, **kwargs)
        finally:
            if shared is None:
                shutil.rmtree(self.temp_dir, ignore_errors=True)

    return cast(Test, wrapper)


def with_checkpoint_logging(
    func: Test | None = None, logger_name: str = "torch.distributed.checkpoint", level: int = logging.INFO
) -> Test:
    """Runs a test with a logger at this level, and puts the level back (upstream's name, torch 2.13).

    Raises:
        AssertionError: it is called without a function, as upstream.
    """
    if func is None:
        raise AssertionError("with_checkpoint_logging needs a function: write @with_checkpoint_logging")

    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        logger = logging.getLogger(logger_name)
        before = logger.level
        logger.setLevel(level)
        try:
            func(self, *args, **kwargs)
        finally:
            logger.setLevel(before)

    return cast(Test, wrapper)


__getattr__ = served(__name__)


def _shared_folder(test_case: Any) -> Path | None:
    """A new folder that all ranks agree on without a message, each by counting its calls; None outside of ranks."""
    if getattr(test_case, "rank", -1) < 0 or not hasattr(test_case, "file_name"):
        return None
    calls = test_case.__dict__.get("_temp_dirs_made", 0)
    test_case.__dict__["_temp_dirs_made"] = calls + 1
    folder = ScratchFolder(Path(test_case.file_name).parent).temporary / f"temp_dir_{calls}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
