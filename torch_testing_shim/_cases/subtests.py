"""Many configurations of one check in one set of ranks."""

from __future__ import annotations

import itertools
import sys
import unittest
from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist

from torch_testing_shim._engine.rank_steps import NO_MESSAGE, current_steps

__all__ = ["reset_dynamo", "run_subtests"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def run_subtests(
    cls_inst: unittest.TestCase,
    subtest_config: dict[str, Sequence[Any]],
    test_fn: Callable[..., object],
    *test_args: Any,
    **test_kwargs: Any,
) -> None:
    """Calls `test_fn` with each combination of the values in `subtest_config`, with all ranks waiting for each other
    after each, so that ranks and process group are set up only once (upstream's `run_subtests`, torch 2.13).

    Args:
        cls_inst: the test case.
        subtest_config: keyword argument of `test_fn` -> its values.
        test_fn: the check; it also gets `test_args` and `test_kwargs`.

    A combination that fails is told by name, and in a rank it ends the test.
    """
    steps = current_steps()
    for values in itertools.product(*subtest_config.values()):
        chosen = dict(zip(subtest_config, values, strict=True))
        reset_dynamo()
        # In a rank, it is the last if it fails: the others wait at the barrier, or in a collective of it.
        with cls_inst.subTest(**chosen) if steps is None else steps.subtest(NO_MESSAGE, chosen, is_last=True):
            test_fn(*test_args, **test_kwargs, **chosen)
        reset_dynamo()
        dist.barrier()


def reset_dynamo() -> None:
    """Has the compiler forget what it has compiled, where it is there."""
    dynamo = sys.modules.get("torch._dynamo")  # not imported: nothing was compiled, and the import takes half a second
    if dynamo is not None:
        dynamo.reset()
