"""The state of the controller's process when it starts a test's ranks, in which they start.

A forked rank is a copy of the zygote, which is older than the test's `setUp`; a spawned one is a new interpreter. Both
get what `setUp`, `setUpClass` or a fixture of pytest made of the process before.

    controller --ProcessState, as JSON--> the test's scratch folder --> each rank, which takes on what differs

Python objects stay behind: a rank has its modules' globals and class attributes as their import has left them.
"""

from __future__ import annotations

import importlib
import json
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

__all__ = ["ProcessState"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: One of Python's warning filters: action, pattern of the message, category by module and name, pattern of the
#: module, line.
WarningFilter = tuple[str, str | None, str, str | None, int]

_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True)
class ProcessState:
    """What ranks share with the controller from their start.

    Attributes:
        environment: the environment's variables.
        folder: the working folder; None where it has been removed.
        import_path: `sys.path`.
        arguments: `sys.argv`.
        start_method: how multiprocessing starts processes; None where nobody has chosen.
        umask: the umask.
        ignored_signals: numbers of the signals that are ignored.
        limits: limits of resources by name, soft and hard.
        cores: the cores that the process may run on.
        warning_filters: Python's, first match first.
        default_dtype: torch's, "torch.float32".
        default_device: torch's, where one was set.
        determinism: whether torch keeps to deterministic algorithms, only warns, fills uninitialized memory.
        grad: torch's grad mode.
    """

    environment: Mapping[str, str]
    folder: str | None
    import_path: tuple[str, ...]
    arguments: tuple[str, ...]
    start_method: str | None
    umask: int
    ignored_signals: tuple[int, ...]
    limits: Mapping[str, tuple[int, int]]
    cores: tuple[int, ...]
    warning_filters: tuple[WarningFilter, ...]
    default_dtype: str
    default_device: str | None
    determinism: tuple[bool, bool, bool]
    grad: bool

    @classmethod
    def of_this_process(cls) -> ProcessState:
        """The state now; takes some hundred microseconds."""
        return cls(
            environment=dict(os.environ),
            folder=_working_folder(),
            import_path=_texts(sys.path),
            arguments=_texts(sys.argv),
            start_method=multiprocessing.get_start_method(allow_none=True),
            umask=_umask(),
            ignored_signals=tuple(sorted(n for n in _SIGNALS if signal.getsignal(n) is signal.SIG_IGN)),
            limits={name: resource.getrlimit(number) for name, number in _LIMITS.items()},
            cores=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
            warning_filters=tuple(map(_described, warnings.filters)),
            default_dtype=str(torch.get_default_dtype()),
            default_device=_default_device(),
            determinism=(
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
                torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            ),
            grad=torch.is_grad_enabled(),
        )

    def take_on(self) -> None:
        """Brings this process, a rank that has not begun with its test, into the state.

        Raises:
            OSError: the system refuses a part of it.
        """
        now = ProcessState.of_this_process()
        for name, take in _TAKE.items():
            before, wanted = getattr(now, name), getattr(self, name)
            if before != wanted:
                take(before, wanted)
        for name, read_again in _READ_AT_START.items():
            read_again(self.environment.get(name))

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> ProcessState:
        fields = json.loads(text)
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        nested = {
            "limits": {name: tuple(limits) for name, limits in fields["limits"].items()},
            "warning_filters": tuple(map(tuple, fields["warning_filters"])),
        }
        return cls(**(fields | lists | nested))


# How each part is read.


def _working_folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    """Those that Python's import and command line know; a test may have put something else among them."""
    return tuple(value for value in values if isinstance(value, str))


def _umask() -> int:
    os.umask(umask := os.umask(0o077))
    return umask


def _described(entry: tuple[Any, ...]) -> WarningFilter:
    action, message, category, module, line = entry
    name = f"{category.__module__}:{category.__qualname__}"
    return action, getattr(message, "pattern", message), name, getattr(module, "pattern", module), line


def _default_device() -> str | None:
    """Asked of what torch keeps: `torch.get_default_device` starts an accelerator's driver to learn its index."""
    context = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return str(context.device) if context is not None else None


# How each part is taken on.


def _take_environment(before: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for name in before.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environ[name] = value


def _take_threads(value: str | None) -> None:
    if value is not None and value.isdecimal() and int(value):
        torch.set_num_threads(min(int(value), os.cpu_count() or 1))  # as MKL has it


#: Variables that libraries read when they are loaded -> how they read one again. In a forked rank they were loaded
#: before the test's set-up, or the test's file, has set the variable.
_READ_AT_START: dict[str, Callable[[str | None], object]] = {
    "OMP_NUM_THREADS": _take_threads,
    "MKL_NUM_THREADS": _take_threads,
    "TORCH_DISTRIBUTED_DEBUG": lambda _: dist.set_debug_level_from_env(),  # type: ignore[attr-defined]
    "TZ": lambda _: time.tzset(),
}


def _take_folder(_: object, wanted: str | None) -> None:
    if wanted is not None:
        os.chdir(wanted)


def _take_import_path(_: object, wanted: Iterable[str]) -> None:
    sys.path[:] = wanted
    importlib.invalidate_caches()  # a folder on it may be younger than what is known of it


def _take_arguments(_: object, wanted: Iterable[str]) -> None:
    sys.argv[:] = wanted


def _take_start_method(_: object, wanted: str | None) -> None:
    multiprocessing.set_start_method(wanted, force=True)  # None for nobody's choice


def _take_ignored_signals(before: Iterable[int], wanted: Iterable[int]) -> None:
    for number in set(before) - set(wanted):
        signal.signal(number, signal.SIG_DFL)
    for number in set(wanted) - set(before):
        signal.signal(number, signal.SIG_IGN)


def _take_limits(before: Mapping[str, object], wanted: Mapping[str, tuple[int, int]]) -> None:
    for name, limits in wanted.items():
        if before.get(name) != limits:
            resource.setrlimit(_LIMITS[name], limits)


def _take_warning_filters(_: object, wanted: Iterable[WarningFilter]) -> None:
    warnings.resetwarnings()
    for action, message, name, module, line in wanted:
        category = _named(name)
        if category is not None:
            warnings.filterwarnings(action, message or "", category, module or "", line, append=True)  # type: ignore[arg-type]


def _named(name: str) -> type[Warning] | None:
    """The category of this name; None where this process has not loaded its module."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _take_determinism(_: object, wanted: tuple[bool, bool, bool]) -> None:
    torch.use_deterministic_algorithms(wanted[0], warn_only=wanted[1])
    torch.utils.deterministic.fill_uninitialized_memory = wanted[2]  # type: ignore[attr-defined]


#: Part of the state -> what brings this process from its own to the one wanted.
_TAKE: dict[str, Callable[[Any, Any], object]] = {
    "environment": _take_environment,
    "folder": _take_folder,
    "import_path": _take_import_path,
    "arguments": _take_arguments,
    "start_method": _take_start_method,
    "umask": lambda _, wanted: os.umask(wanted),
    "ignored_signals": _take_ignored_signals,
    "limits": _take_limits,
    "cores": lambda _, wanted: os.sched_setaffinity(0, wanted),
    "warning_filters": _take_warning_filters,
    "default_dtype": lambda _, wanted: torch.set_default_dtype(getattr(torch, wanted.removeprefix("torch."))),
    "default_device": lambda _, wanted: torch.set_default_device(wanted),
    "determinism": _take_determinism,
    "grad": lambda _, wanted: torch.set_grad_enabled(wanted),
}
