"""The state of the controller's process when it starts a test's ranks. They start in the same state.

A forked rank is a copy of the zygote, which is older than the test's `setUp`; a spawned one is a new interpreter. Both
take on the changes that `setUp`, `setUpClass` or a fixture of pytest made to the process before.

    controller --changes_since(base), as JSON--> the test's scratch folder --> each rank: take_on(changes)

The base is the state in which a rank starts by itself: for a forked rank, that of the zygote when it was forked. Asking
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
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: One of Python's warning filters: action, pattern of the message, category by module and name, pattern of the
#: module, line.
_WarningFilter = list[Any]

_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True)
class ProcessState:
    """The state that ranks share with the controller from their start, in types that JSON has.

    Attributes:
        environment: the environment's variables.
        folder: the working folder; None where it has been removed and has no other name.
        import_path: `sys.path`.
        arguments: `sys.argv`.
        start_method: multiprocessing's start method; None where none was chosen.
        umask: the umask.
        ignored_signals: whether a signal is ignored, by its number.
        limits: soft and hard limits of resources, by name.
        cores: the cores on which the process may run.
        warning_filters: Python's, first match first.
        default_dtype: torch's, "torch.float32".
        default_device: torch's, where one was set.
        determinism: whether torch uses deterministic algorithms, only warns, and fills uninitialized memory.
        grad: torch's grad mode.
    """

    environment: Mapping[str, str]
    folder: str | None
    import_path: list[str]
    arguments: list[str]
    start_method: str | None
    umask: int
    ignored_signals: Mapping[str, bool]
    limits: Mapping[str, list[int]]
    cores: list[int]
    warning_filters: list[_WarningFilter]
    default_dtype: str
    default_device: str | None
    determinism: list[bool]
    grad: bool

    @classmethod
    def of_this_process(cls) -> ProcessState:
        """Reads the state; takes some hundred microseconds."""
        return cls(
            environment=dict(os.environ),
            folder=_working_folder(),
            import_path=_texts(sys.path),
            arguments=_texts(sys.argv),
            start_method=multiprocessing.get_start_method(allow_none=True),
            umask=_umask(),
            ignored_signals={str(int(n)): signal.getsignal(n) is signal.SIG_IGN for n in _SIGNALS},
            limits={name: list(resource.getrlimit(number)) for name, number in _LIMITS.items()},
            cores=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
            warning_filters=[_described(entry) for entry in warnings.filters],
            default_dtype=str(torch.get_default_dtype()),
            default_device=_default_device(),
            determinism=_determinism(),
            grad=torch.is_grad_enabled(),
        )

    def as_ranks_start(self) -> ProcessState:
        """Returns the state in which ranks that are forked from this process start: they do not ignore signals that end
        a process."""
        taken = {str(int(number)): False for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
        return replace(self, ignored_signals={**self.ignored_signals, **taken})

    def changes_since(self, base: ProcessState | None) -> dict[str, Any]:
        """Returns the parts that differ from `base`; of a mapping the items, None for an item that is gone. Without a
        base it returns all parts, and the environment as a whole: the process that starts the rank may have variables
        that are gone here."""
        if base is None:
            whole = dict(vars(self))
            return {"whole_environment": whole.pop("environment"), **whole}
        pairs = ((name, getattr(base, name), now) for name, now in vars(self).items())
        return {name: _changed(before, now) for name, before, now in pairs if before != now}


def _changed(before: Any, now: Any) -> Any:
    if not isinstance(now, Mapping):
        return now
    return {name: now.get(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def take_on(changes: Mapping[str, Any]) -> None:
    """Applies the result of `changes_since` to this process, a rank that has not begun its test.

    Raises:
        OSError: the system refuses a part of it.
    """
    for name, wanted in changes.items():
        _TAKE[name](wanted)


# Reading the parts.


def _working_folder() -> str | None:
    """Returns the working folder. A removed one has a name in /proc as long as this process works in it, which it does
    while its ranks start."""
    with suppress(OSError):
        return os.getcwd()
    entry = f"/proc/{os.getpid()}/cwd"
    return entry if os.path.exists(entry) else None


def _texts(values: Iterable[object]) -> list[str]:
    """Returns the strings among the values; a test may have put other objects into `sys.path`."""
    return [value for value in values if isinstance(value, str)]


def _umask() -> int:
    os.umask(umask := os.umask(0o077))
    return umask


def _described(entry: tuple[Any, ...]) -> _WarningFilter:
    action, message, category, module, line = entry
    name = f"{category.__module__}:{category.__qualname__}"
    return [action, getattr(message, "pattern", message), name, getattr(module, "pattern", module), line]


def _determinism() -> list[bool]:
    fills: bool = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return [torch.are_deterministic_algorithms_enabled(), warns, fills]


def _default_device() -> str | None:
    """Reads torch's default device without `torch.get_default_device`, which starts a driver to learn the index."""
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


def _take_whole_environment(wanted: Mapping[str, str]) -> None:
    _take_environment({**dict.fromkeys(os.environ.keys() - wanted.keys()), **wanted})


def read_environment_again() -> None:
    """Makes libraries read their environment variables again: they read them when they were loaded, before the test's
    set-up or file has set any."""
    dist.set_debug_level_from_env()  # type: ignore[attr-defined]  # TORCH_DISTRIBUTED_DEBUG
    time.tzset()  # TZ


def _take_threads(value: str | None) -> None:
    """Sets torch's threads. Only for ranks: it may start the threads, and the zygote cannot fork beside threads."""
    if value is not None and value.isdecimal() and int(value):
        torch.set_num_threads(min(int(value), os.cpu_count() or 1))  # at most the cores, as MKL does


def _take_folder(wanted: str | None) -> None:
    if wanted is not None:
        os.chdir(wanted)


def _take_import_path(wanted: Iterable[str]) -> None:
    sys.path[:] = wanted
    importlib.invalidate_caches()  # the finders' caches may be older than a folder on the path


def _take_arguments(wanted: Iterable[str]) -> None:
    sys.argv[:] = wanted


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
    """Returns the category of this name; None where this process has not loaded its module."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _take_determinism(wanted: list[bool]) -> None:
    if wanted != _determinism():  # setting it imports torch._inductor (torch 2.13)
        torch.use_deterministic_algorithms(wanted[0], warn_only=wanted[1])
        torch.utils.deterministic.fill_uninitialized_memory = wanted[2]  # type: ignore[attr-defined]


#: Part of the state -> the function that applies it to this process.
_TAKE: dict[str, Callable[[Any], object]] = {
    "environment": _take_environment,
    "whole_environment": _take_whole_environment,
    "folder": _take_folder,
    "import_path": _take_import_path,
    "arguments": _take_arguments,
    "start_method": lambda wanted: multiprocessing.set_start_method(wanted, force=True),
    "umask": os.umask,
    "ignored_signals": _take_ignored_signals,
    "limits": _take_limits,
    "cores": lambda wanted: os.sched_setaffinity(0, wanted),
    "warning_filters": _take_warning_filters,
    "default_dtype": lambda wanted: torch.set_default_dtype(getattr(torch, wanted.removeprefix("torch."))),
    "default_device": torch.set_default_device,
    "determinism": _take_determinism,
    "grad": torch.set_grad_enabled,
}
