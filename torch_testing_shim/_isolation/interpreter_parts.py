"""Parts of Python's own state that a reused rank puts back after each test, beside those of `_engine.process_state`.

Handlers of `atexit` are not among them: a rank ends without calling them, and they cannot be listed.
"""

from __future__ import annotations

import asyncio
import codecs
import copyreg
import ctypes
import decimal
import faulthandler
import functools
import gc
import importlib
import itertools
import json
import locale
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import tracemalloc
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch_testing_shim._engine.process_state import handler_of
from torch_testing_shim._isolation.dict_versions import ChangeWatch
from torch_testing_shim._isolation.hypothesis_profiles import load_profile
from torch_testing_shim._isolation.kept_parts import Part, attributes, module_global
from torch_testing_shim._isolation.logging_parts import logging_parts
from torch_testing_shim._isolation.module_origins import is_of_library
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_ERROR_HANDLERS = (
    "strict", "ignore", "replace", "xmlcharrefreplace", "backslashreplace", "namereplace", "surrogateescape",
    "surrogatepass",
)  # fmt: skip
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def interpreter_parts() -> list[Part]:
    """Return the parts, in the order in which they are put back."""
    modules = _Modules()
    json_encoder = vars(json)["_default_encoder"]
    return [
        Part("faulthandler", faulthandler.is_enabled, _restore_faulthandler),
        Part("handlers of signals", _handlers, _restore_handlers),
        Part("blocked signals", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()), _restore_blocked),
        Part("timers", lambda: any(signal.getitimer(timer)[0] for timer in _TIMERS), lambda _: _stop_timers()),
        Part("the priority", lambda: os.getpriority(os.PRIO_PROCESS, 0), _restore_priority),
        Part("the scheduler", _scheduler, lambda kept: os.sched_setscheduler(0, *kept)),
        Part("the environment of C", _environment_of_c, _restore_environment_of_c),
        _list("sys.path", sys.path),
        _list("sys.meta_path", sys.meta_path),
        _list("sys.path_hooks", sys.path_hooks),
        Part("sys.modules", modules.content, modules.restore, is_checked=False),
        attributes(
            "hooks of sys",
            sys,
            ("stdin", "stdout", "stderr", "displayhook", "excepthook", "unraisablehook", "breakpointhook"),
        ),
        attributes("sys.tracebacklimit", sys, ["tracebacklimit"]),
        attributes("threading.excepthook", threading, ["excepthook"]),
        Part("sys.settrace", sys.gettrace, sys.settrace),
        Part("sys.setprofile", sys.getprofile, sys.setprofile),
        attributes("hooks of new threads", threading, ("_trace_hook", "_profile_hook")),
        Part("sys.setrecursionlimit", sys.getrecursionlimit, sys.setrecursionlimit),
        Part("sys.setswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
        Part("sys.set_asyncgen_hooks", sys.get_asyncgen_hooks, lambda kept: sys.set_asyncgen_hooks(*kept)),
        Part(
            "sys.set_coroutine_origin_tracking_depth",
            sys.get_coroutine_origin_tracking_depth,
            sys.set_coroutine_origin_tracking_depth,
        ),
        Part("the running event loop", asyncio._get_running_loop, asyncio._set_running_loop),
        Part("tracemalloc", tracemalloc.is_tracing, lambda _: tracemalloc.stop()),
        Part("the stack size of threads", threading.stack_size, threading.stack_size),
        Part("gc.enable", gc.isenabled, lambda is_on: gc.enable() if is_on else gc.disable()),
        Part("gc.set_threshold", gc.get_threshold, lambda kept: gc.set_threshold(*kept)),
        Part("gc.set_debug", gc.get_debug, gc.set_debug),
        _list("gc.callbacks", gc.callbacks),
        Part("random", random.getstate, random.setstate),
        # of the context that all tests' contexts are copies of: they share one that was there before
        Part("decimal.getcontext", lambda: decimal.getcontext().__reduce__()[1], _restore_decimal_context),
        Part("codecs.register_error", lambda: list(map(codecs.lookup_error, _ERROR_HANDLERS)), _restore_error_handlers),
        Part("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda kept: locale.setlocale(locale.LC_ALL, kept)),
        Part("socket.setdefaulttimeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
        attributes("decimal.DefaultContext", decimal.DefaultContext, ("prec", "rounding", "Emin", "Emax")),
        attributes("tempfile", tempfile, ("tempdir", "template", "_name_sequence")),
        attributes("copyreg", copyreg, ("_extension_registry", "_inverted_registry")),
        attributes("json", json, ("_default_encoder", "_default_decoder")),
        attributes("json's encoder", json_encoder, vars(json_encoder)),
        attributes("the names of this process", multiprocessing.current_process(), ("_name", "_config")),
        attributes("the name of the main thread", threading.main_thread(), ["_name"]),
        module_global("urllib.request", "_opener", fresh=None),
        module_global("asyncio.events", "_event_loop_policy", fresh=None),
        *logging_parts(),
        attributes("functions of warnings", warnings, ("showwarning", "_showwarnmsg_impl", "formatwarning")),
        Part("warnings.filters", lambda: list(warnings.filters), _restore_filters),
        Part("numpy", _numpy_state, _restore_numpy_state),
        Part("the profile of hypothesis", _hypothesis_profile, _restore_hypothesis_profile),
    ]


def _restore_decimal_context(kept: Any) -> None:
    decimal.setcontext(decimal.Context(*kept))


def _restore_error_handlers(kept: list[Any]) -> None:
    for name, handler in zip(_ERROR_HANDLERS, kept, strict=True):
        codecs.register_error(name, handler)


def _list(name: str, value: list[Any]) -> Part:
    return Part(name, lambda: list(value), lambda kept: value.__setitem__(slice(None), kept))


# Signals.


def _caught_below_python() -> frozenset[int]:
    """Return the signals that a handler of C catches, as faulthandler's is; empty where the system does not tell."""
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        mask = next((int(line.split()[1], 16) for line in status if line.startswith(b"SigCgt:")), 0)
        caught = (number for number in _SIGNALS if mask >> (number - 1) & 1)
        return frozenset(number for number in caught if not callable(handler_of(number)))
    return frozenset()


def _handlers() -> tuple[Mapping[int, Any], frozenset[int], int]:
    signal.set_wakeup_fd(wakeup := signal.set_wakeup_fd(-1))
    return {number: handler_of(number) for number in _SIGNALS}, _caught_below_python(), wakeup


def _restore_handlers(kept: tuple[Mapping[int, Any], frozenset[int], int]) -> None:
    for number, handler in kept[0].items():
        if handler_of(number) is not handler:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    signal.set_wakeup_fd(kept[2])


def _restore_blocked(kept: set[signal.Signals]) -> None:
    for number in signal.sigpending():  # which would end the rank once they are not blocked
        handler = signal.getsignal(number)
        for each in (signal.SIG_IGN, handler or signal.SIG_DFL):
            signal.signal(number, each)
    signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def _stop_timers() -> None:
    """Stop timers that send signals. No rank starts with one."""
    for timer in _TIMERS:
        signal.setitimer(timer, 0)


def _restore_faulthandler(is_enabled: bool) -> None:
    faulthandler.enable(sys.__stderr__) if is_enabled else faulthandler.disable()  # type: ignore[arg-type]


# The process.


def _restore_priority(kept: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, kept)


def _scheduler() -> tuple[int, os.sched_param] | None:
    return (os.sched_getscheduler(0), os.sched_getparam(0)) if hasattr(os, "sched_getscheduler") else None


def _environment_of_c() -> frozenset[bytes]:
    """Return the variables that C and child processes see: `os.putenv` changes them and not `os.environ`."""
    try:
        pointer: Any = ctypes.POINTER(ctypes.c_char_p).in_dll(_process(), "environ")
    except ValueError:  # this system has them elsewhere
        return frozenset()
    return frozenset(itertools.takewhile(lambda entry: entry is not None, pointer))


@functools.cache
def _process() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _restore_environment_of_c(kept: frozenset[bytes]) -> None:
    now = _environment_of_c()
    for entry in now - kept:
        os.unsetenv(entry.partition(b"=")[0])
    for entry in kept - now:
        name, _, value = entry.partition(b"=")
        os.putenv(name, value)


# Modules.


class _Modules:
    """The content of `sys.modules`, which is looked at only where it has changed."""

    def __init__(self) -> None:
        self._watch = ChangeWatch()
        self._content: Mapping[str, Any] = {}

    def content(self) -> Mapping[str, Any]:
        if self._watch.is_changed(sys.modules):
            self._note(dict(sys.modules))
        return self._content

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Put back a content. What is there now, new modules of libraries too, counts as that content from now on."""
        _restore_modules(kept)
        self._note(kept)

    def _note(self, content: Mapping[str, Any]) -> None:
        self._watch.note(sys.modules)
        self._content = content


def _restore_modules(kept: Mapping[str, Any]) -> None:
    """Put back modules that have been replaced or removed, and remove new ones that are not of a library: the next test
    may import another one of that name, and a fresh rank would have imported it anew."""
    sys.modules.update((name, module) for name, module in kept.items() if sys.modules.get(name) is not module)
    for name in sys.modules.keys() - kept.keys():
        module = sys.modules[name]
        if module is None or not is_of_library(module):
            del sys.modules[name]
            parent, _, own = name.rpartition(".")
            if vars(sys.modules.get(parent, object)).get(own) is module and parent:
                delattr(sys.modules[parent], own)
    importlib.invalidate_caches()


# Warnings.


def _restore_filters(kept: list[Any]) -> None:
    warnings.filters[:] = kept  # type: ignore[index]
    forget_shown_warnings()


def forget_shown_warnings() -> None:
    """Make warnings that are shown once show again: no module's `__warningregistry__` counts from now on."""
    with warnings.catch_warnings():
        pass  # it tells the registries that the filters may have changed
    warnings.onceregistry.clear()  # type: ignore[attr-defined]


# Numpy and hypothesis, where they are imported.


def _numpy_state() -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    kind, keys, *rest = numpy.random.get_state()
    return (kind, keys.tobytes(), *rest), numpy.geterr(), numpy.get_printoptions()


def _restore_numpy_state(kept: Any) -> None:
    numpy = sys.modules.get("numpy")
    if kept is None or numpy is None:  # a test was the first to import it
        return
    (kind, keys, *rest), errors, options = kept
    numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))
    numpy.seterr(**errors)
    numpy.set_printoptions(**options)


def _hypothesis_profile() -> Any:
    settings = getattr(sys.modules.get("hypothesis"), "settings", None)
    return None if settings is None else (settings._current_profile, settings.default, dict(settings._profiles))


def _restore_hypothesis_profile(kept: Any) -> None:
    settings: Any = sys.modules["hypothesis"].settings
    if kept is None:  # a test was the first to import it
        load_profile(read_settings())
        return
    name, _, profiles = kept
    settings._profiles.clear()
    settings._profiles.update(profiles)
    settings.load_profile(name)
