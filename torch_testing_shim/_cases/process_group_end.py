"""How a rank that is about to end leaves its process groups.

When nothing holds a gloo group any more, it takes its connections down one by one, 10 ms each (torch 2.13): with 64
ranks that is longer than all the rest of a small test. The kernel closes those of a process that ends at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from torch_testing_shim._engine.forked_child import ends_forked_children
from torch_testing_shim._engine.rank_steps import current_steps, end_after_failed_subtests
from torch_testing_shim._engine.skip_codes import skip_message, skip_reason_of

__all__ = ["keep_connections", "leave_group_after", "run_in_group"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: What is kept: the groups, by which their connections stay.
_KEPT: list[dist.ProcessGroup] = []


def keep_connections() -> None:
    """Has the connections of this rank's process groups last as long as its process, though the groups be destroyed."""
    _KEPT.extend(dist.distributed_c10d._world.pg_map)


def run_in_group(test: Callable[[], Any]) -> Any:
    """Calls a test in its process group and returns what it does; where it fails, leaves the group at once."""
    try:
        with ends_forked_children():
            result = test()
        end_after_failed_subtests()
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        leave_group_after(error)
        raise
    return result


def leave_group_after(error: BaseException) -> None:
    """Destroys the process group of a test that has raised `error`, without a barrier, to which others may never come.
    The connections close, so they learn of it. After a skip in a rank the group stays until the process ends, since all
    ranks are expected to skip, and another may still be making its connections."""
    skips_by_code = isinstance(error, SystemExit) and skip_message(error.code) is not None
    if current_steps() is not None and (skips_by_code or skip_reason_of(error) is not None):
        return
    if dist.is_initialized():  # the test may have destroyed it, and what it raised is not to be hidden by that
        dist.destroy_process_group()
