"""The state of the controller's process when it starts a test's ranks. They start in the same state.

A forked rank is a copy of the zygote, which is older than the test's `setUp`; a spawned one is a new interpreter. Both
take on the changes that `setUp`, `setUpClass` or a fixture of pytest made to the process before.

    controller --changes_since(base, state), as JSON--> the test's scratch folder --> each rank: take_on(changes)

The base is the state in which a rank starts by itself: for a forked rank, the zygote's state when it was forked. Asking
a rank for its own state would cost it copies of some hundred pages of memory.

Python objects are not transferred: a rank has its modules' globals and class attributes as their import left them.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The state of a process: name of a part (see `_PARTS`) -> its value.
State = Mapping[str, Any]
#: One of Python's warning filters: action, pattern of the message, category by module and name, pattern of the
#: module, line.
_WarningFilter = list[Any]

#: Stands for the part "environment" where it holds all variables.
_WHOLE_ENVIRONMENT = "whole_environment"
#: The mapping whose changes change the environment. A test may put another object in its place.
_ENVIRON = os.environ
_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_SIGNAL_NAMES = {number: str(int(number)) for number in _SIGNALS}
#: Returns a signal's handler, as `signal.getsignal` does, but a plain number where it is none of Python's: making that
#: an enum's member takes ten times as long, for each of 62 signals, several times a test.
handler_of: Callable[[int], Any] = importlib.import_module("_signal").getsignal
_IGNORES = int(signal.SIG_IGN)


def state_of_this_process() -> State:
    """Read the state, in types that JSON has; takes some hundred microseconds."""
    return {name: part.read() for name, part in _PARTS.items()}


def as_ranks_start(state: State) -> State:
    """Return the state in which ranks start that are forked from a process in `state`: they do not ignore signals that
    end a process."""
    taken = {str(int(number)): False for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
    return {**state, "ignored_signals": {**state["ignored_signals"], **taken}}


def environment_of(state: State | None) -> Mapping[str, str]:
    """Return the environment of a state, without the variable in which pytest names the running test."""
    environment = {} if state is None else state["environment"]
    return {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}


def changes_since(base: State | None, state: State) -> State:
    """Return the parts of `state` that differ from `base`; of a mapping the items, None for an item that is gone.
    Without a base it returns all parts, and the environment as a whole: the process that starts the rank may have
    variables that are gone here."""
    if base is None:
        return {_WHOLE_ENVIRONMENT if name == "environment" else name: value for name, value in state.items()}
    return {name: _changed(base[name], now) for name, now in state.items() if base[name] != now}


def _changed(before: Any, now: Any) -> Any:
    if not isinstance(now, Mapping):
        return now
    return {name: now.get(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def take_on(changes: State) -> None:
    """Apply the result of `changes_since` to this process, a rank that has not begun its test. Raise OSError where
    the system refuses a part of it."""
    for name, wanted in changes.items():
        if name == _WHOLE_ENVIRONMENT:
            _take_environment({**dict.fromkeys(os.environ.keys() - wanted.keys()), **wanted})
        else:
            _PARTS[name].take(wanted)


def put_environ_back() -> None:
    """Make `os.environ` the mapping again that it was when Python started; the variables are parts of the state."""
    os.environ = _ENVIRON  # noqa: B003 - the object, not the variables


# Reading the parts.


def _working_folder() -> str | None:
    """Return the working folder; None where it has been removed and has no other name. It has one in /proc as long as
    this process works in it, which it does while its ranks start."""
    with suppress(OSError):
        return os.getcwd()
    entry = f"/proc/{os.getpid()}/cwd"
    return entry if os.path.exists(entry) else None


def _texts(values: Iterable[object]) -> list[str]:
    """Return the strings among the values; a test may have put other objects into `sys.path`."""
    return [value for value in values if isinstance(value, str)]


def _umask() -> int:
    os.umask(umask := os.umask(0o077))
    return umask


def _described(entry: tuple[Any, ...]) -> _WarningFilter:
    action, message, category, module, line = entry
    name = f"{category.__module__}:{category.__qualname__}"
    return [action, getattr(message, "pattern", message), name, getattr(module, "pattern", module), line]


def _determinism() -> list[bool]:
    """Return whether torch uses deterministic algorithms, only warns, and fills uninitialized memory."""
    fills: bool = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return [torch.are_deterministic_algorithms_enabled(), warns, fills]


def _default_device() -> str | None:
    """Read torch's default device without `torch.get_default_device`, which starts a driver to learn the index."""
    context = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return str(context.device) if context is not None else None


# Applying the parts.


def _take_environment(wanted: Mapping[str, str | None]) -> None:
    for name, value in wanted.items():
        if value is not None:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    read_environment_again()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        _take_threads(wanted.get(name))


def read_environment_again() -> None:
    """Make libraries read their environment variables again: they read them when they were loaded, before the test's
    set-up or file has set any."""
    dist.set_debug_level_from_env()  # type: ignore[attr-defined]  # TORCH_DISTRIBUTED_DEBUG
    time.tzset()  # TZ


def _take_threads(value: str | None) -> None:
    """Set torch's threads. Only for ranks: it may start the threads, and the zygote cannot fork beside threads."""
    if value is not None and value.isdecimal() and int(value):
        torch.set_num_threads(min(int(value), os.cpu_count() or 1))  # at most the cores, as MKL does


def _take_import_path(wanted: Iterable[str]) -> None:
    sys.path[:] = wanted
    importlib.invalidate_caches()  # the finders' caches may be older than a folder on the path


def _take_ignored_signals(wanted: Mapping[str, bool]) -> None:
    for name, is_ignored in wanted.items():
        number = int(name)
        if is_ignored:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _take_limits(wanted: Mapping[str, tuple[int, int]]) -> None:
    for name, limits in wanted.items():
        resource.setrlimit(_LIMITS[name], limits)


def _take_warning_filters(wanted: Iterable[_WarningFilter]) -> None:
    warnings.resetwarnings()
    for action, message, name, module, line in wanted:
        category = _named(name)
        if category is not None:
            warnings.filterwarnings(action, message or "", category, module or "", line, append=True)


def _named(name: str) -> type[Warning] | None:
    """Return the category of this name; None where this process has not loaded its module."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _take_determinism(wanted: list[bool]) -> None:
    if wanted != _determinism():  # setting it imports torch._inductor (torch 2.13)
        torch.use_deterministic_algorithms(wanted[0], warn_only=wanted[1])
        torch.utils.deterministic.fill_uninitialized_memory = wanted[2]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Part:
    """A part of the state: how it is read, and how it is applied to a rank's process."""

    read: Callable[[], Any]
    take: Callable[[Any], object]


_PARTS = {
    "environment": _Part(lambda: dict(os.environ), _take_environment),
    "folder": _Part(_working_folder, lambda wanted: None if wanted is None else os.chdir(wanted)),
    "import_path": _Part(lambda: _texts(sys.path), _take_import_path),
    "arguments": _Part(lambda: _texts(sys.argv), lambda wanted: sys.argv.__setitem__(slice(None), wanted)),
    "start_method": _Part(  # multiprocessing's; None where none was chosen
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda wanted: multiprocessing.set_start_method(wanted, force=True),
    ),
    "umask": _Part(_umask, os.umask),
    "ignored_signals": _Part(
        lambda: {name: handler_of(number) is _IGNORES for number, name in _SIGNAL_NAMES.items()},
        _take_ignored_signals,
    ),
    "limits": _Part(  # of resources: soft and hard ones
        lambda: {name: list(resource.getrlimit(number)) for name, number in _LIMITS.items()}, _take_limits
    ),
    "cores": _Part(
        lambda: sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        lambda wanted: os.sched_setaffinity(0, wanted),
    ),
    "warning_filters": _Part(lambda: [_described(entry) for entry in warnings.filters], _take_warning_filters),
    "default_dtype": _Part(
        lambda: str(torch.get_default_dtype()),
        lambda wanted: torch.set_default_dtype(getattr(torch, wanted.removeprefix("torch."))),
    ),
    "default_device": _Part(_default_device, torch.set_default_device),
    "determinism": _Part(_determinism, _take_determinism),
    "grad": _Part(torch.is_grad_enabled, torch.set_grad_enabled),
}
