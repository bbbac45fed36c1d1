"""Tells what a thread waits for by its innermost Python frame, also where it waits inside C++."""

from __future__ import annotations

import dis
import inspect
import os
from enum import Enum
from types import FrameType

import torch
import torch.distributed as dist

from torch_testing_shim._engine import quick_store

_TORCH = os.path.dirname(torch.__file__)
_COLLECTIVES_FILE = f"{_TORCH}/distributed/distributed_c10d.py"
#: Functions of `_COLLECTIVES_FILE` that start a process group.
_STARTS = ("_new_process_group_helper", "_store_based_barrier", "init_process_group", "new_group", "split_group")
#: Files and functions of torch that go into C++, which may wait for a collective there.
_NATIVE = ((f"{_TORCH}/autograd/graph.py", "_engine_run_backward"), (f"{_TORCH}/futures/__init__.py", "wait"))
_OPERATORS_FILE = f"{_TORCH}/_ops.py"
#: Instructions that call a method, and that load the value of a plain name; the last of each are of Python before 3.11.
_CALLS = ("CALL", "CALL_METHOD")
_NAMES = ("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF")
#: Instructions of some versions of Python that stand between these.
_BETWEEN = ("PRECALL", "PUSH_NULL")


class Wait(Enum):
    """The kinds of what a thread waits for."""

    COLLECTIVE = "collective"  # other ranks, in a call of torch.distributed (send and recv too) or its work's `wait`
    START = "start"  # other ranks, in the start of a process group, where the system may be slow
    NATIVE = "native"  # perhaps a collective, inside a backward pass or a future: C++ that may do something else, too
    UNKNOWN = "unknown"  # something else, or it runs


def wait_of(innermost: FrameType) -> Wait:
    """Return what a thread with this innermost frame waits for. The thread may go on meanwhile."""
    while innermost.f_code.co_filename == quick_store.__file__ and innermost.f_back is not None:
        innermost = innermost.f_back  # the store is asked by what waits
    file, function = innermost.f_code.co_filename, innermost.f_code.co_name
    if file == _COLLECTIVES_FILE:
        return Wait.START if function in _STARTS else Wait.COLLECTIVE
    if (file, function) in _NATIVE:
        return Wait.NATIVE
    if file == _OPERATORS_FILE:
        is_wait = str(innermost.f_locals.get("self")).startswith("_c10d_functional.wait_tensor")
    else:
        waiting = _waiting_object(innermost)
        if isinstance(waiting, torch._C.Future):
            return Wait.NATIVE
        is_wait = isinstance(waiting, dist.Work)
    return Wait.COLLECTIVE if is_wait else Wait.UNKNOWN


def _waiting_object(frame: FrameType) -> object:
    """Return the `work` of `work.wait()` or `self.work.wait()`, where the frame is in such a call without a time-out.
    None where it is in another call, or where the object comes from elsewhere."""
    if "wait" not in frame.f_code.co_names:
        return None
    done = [i for i in dis.get_instructions(frame.f_code) if i.offset <= frame.f_lasti and i.opname not in _BETWEEN]
    *before, method, call = done if len(done) > 2 else [done[-1]] * 3
    if call.offset != frame.f_lasti or call.opname not in _CALLS or call.arg != 0 or method.argval != "wait":
        return None
    attributes = []
    while before and before[-1].opname == "LOAD_ATTR":
        attributes.append(before.pop().argval)
    if not before or not before[-1].opname.startswith(_NAMES):
        return None
    name = before[-1].argval
    owner = frame.f_locals.get(name, frame.f_globals.get(name))
    for attribute in reversed(attributes):
        owner = inspect.getattr_static(owner, attribute, None)  # runs no code of the test's
    return owner
