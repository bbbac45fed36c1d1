"""Python's state is put back after a test: each case changes one part of it."""

import asyncio
import codecs
import copyreg
import decimal
import faulthandler
import gc
import io
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
import types
import urllib.request
import warnings
from pathlib import Path

import hypothesis
import numpy

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases

CASES = Cases()
#: Things whose end would warn.
KEPT = []


def import_from_a_new_folder(name):
    """Import a module as a test does that has written it, and leave its folder on the path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{name}.py").touch()
        sys.path.insert(0, folder)
        __import__(name)


@CASES.changes(lambda: [json.dumps({"b": 1, "a": 2}), getattr(sys, "tracebacklimit", None)])
def texts():
    json._default_encoder.sort_keys = True
    sys.tracebacklimit = 3


@CASES.changes(lambda: [multiprocessing.current_process().name, threading.main_thread().name])
def names():
    multiprocessing.current_process().name = threading.main_thread().name = "of a test"


@CASES.changes(lambda: [decimal.DefaultContext.prec, dict(copyreg._extension_registry), urllib.request._opener is None])
def defaults():
    decimal.DefaultContext.prec = 5
    copyreg.add_extension("of a test", "name", 240)
    urllib.request.install_opener(urllib.request.build_opener())


@CASES.changes(lambda: codecs.lookup_error("strict").__name__)
def error_handler():
    codecs.register_error("strict", codecs.ignore_errors)


@CASES.changes(lambda: [signal.getsignal(signal.SIGUSR1), signal.set_wakeup_fd(-1)])
def a_handler_of_a_signal():
    signal.signal(signal.SIGUSR1, lambda *_: None)


@CASES.changes(lambda: [decimal.getcontext().prec, decimal.getcontext().traps[decimal.Inexact]])
def the_context_of_decimals():
    decimal.getcontext().prec = 3
    decimal.getcontext().traps[decimal.Inexact] = True


@CASES.changes(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()))
def a_blocked_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


@CASES.changes(sys.get_asyncgen_hooks)
def hooks_of_asynchronous_generators():
    sys.set_asyncgen_hooks(print)


@CASES.changes(sys.get_coroutine_origin_tracking_depth)
def origins_of_coroutines():
    sys.set_coroutine_origin_tracking_depth(3)


@CASES.changes(asyncio._get_running_loop)
def a_running_event_loop():
    KEPT.append(loop := asyncio.SelectorEventLoop())
    asyncio._set_running_loop(loop)


@CASES.changes(tracemalloc.is_tracing)
def traced_memory():
    tracemalloc.start()


@CASES.changes(lambda: os.sched_getscheduler(0))
def a_scheduler():
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@CASES.changes(lambda: repr(hypothesis.settings.default))
def a_profile_of_hypothesis():
    hypothesis.settings.register_profile("left", max_examples=1)
    hypothesis.settings.load_profile("left")


@CASES.changes(lambda: sorted(signal.sigpending()))
def a_pending_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)


@CASES.changes(lambda: signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0))
def an_alarm():
    signal.alarm(1000)


@CASES.changes(faulthandler.is_enabled)
def stacks_of_a_crash():
    faulthandler.disable() if faulthandler.is_enabled() else faulthandler.enable(sys.__stderr__)


@CASES.changes(lambda: list(sys.path))
def the_import_path():
    sys.path.append(Path("/not/a/text"))


@CASES.changes(lambda: [list(sys.meta_path), list(sys.path_hooks)])
def finders():
    sys.meta_path.insert(0, types.SimpleNamespace(find_spec=lambda *_: None))
    sys.path_hooks.pop()


@CASES.changes(lambda: sys.modules["json"])
def a_module_that_shadows_another():
    sys.modules["json"] = types.ModuleType("json")


@CASES.changes(lambda: "wave" in sys.modules or sys.modules["random"])
def a_module_that_is_removed():
    del sys.modules["random"]
    import random  # another one, for whoever imports it from now on

    assert random is not globals()["random"]


@CASES.changes(lambda: "helper_of_one_test" in sys.modules)
def a_module_of_the_test():
    import_from_a_new_folder("helper_of_one_test")


@CASES.changes(lambda: "made_up" in sys.modules)
def a_module_without_a_file():
    sys.modules["made_up"] = types.ModuleType("made_up")


@CASES.changes(lambda: "of_nothing" in sys.modules)
def a_module_that_cannot_be_imported():
    sys.modules["of_nothing"] = None


@CASES.changes(lambda: [sys.stdout, sys.excepthook, sys.displayhook, sys.unraisablehook])
def hooks_of_sys():
    sys.stdout = sys.excepthook = sys.displayhook = sys.unraisablehook = io.StringIO()


@CASES.changes(lambda: threading.excepthook)
def the_hook_of_threads():
    threading.excepthook = print


@CASES.changes(sys.gettrace)
def a_trace_function():
    sys.settrace(lambda *_: None)


@CASES.changes(sys.getprofile)
def a_profile_function():
    sys.setprofile(lambda *_: None)


@CASES.changes(lambda: threading._trace_hook)
def a_trace_function_of_threads():
    threading.settrace(lambda *_: None)


@CASES.changes(sys.getrecursionlimit)
def the_recursion_limit():
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)


@CASES.changes(sys.getswitchinterval)
def the_switch_interval():
    sys.setswitchinterval(0.5)


@CASES.changes(threading.stack_size)
def the_stack_size():
    threading.stack_size(1 << 20)


@CASES.changes(lambda: [gc.isenabled(), gc.get_threshold(), gc.get_debug(), list(gc.callbacks)])
def the_collector():
    gc.set_threshold(gc.get_threshold()[0] + 1)
    gc.disable() if gc.isenabled() else gc.enable()
    gc.set_debug(gc.DEBUG_UNCOLLECTABLE)
    gc.callbacks.append(lambda *_: None)


@CASES.changes(random.getstate)
def the_generator():
    random.random()


@CASES.changes(lambda: [numpy.random.get_state()[1].tolist(), numpy.geterr(), numpy.get_printoptions()["precision"]])
def numpys_state():
    numpy.random.rand()
    numpy.seterr(all="raise")
    numpy.set_printoptions(precision=3)


@CASES.changes(lambda: locale.setlocale(locale.LC_ALL))
def the_locale():
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")


@CASES.changes(socket.getdefaulttimeout)
def the_timeout_of_sockets():
    socket.setdefaulttimeout(1.0)


@CASES.changes(lambda: [tempfile.tempdir, tempfile.template])
def the_temporary_folder():
    tempfile.tempdir, tempfile.template = "/elsewhere", "of_a_test"


@CASES.changes(lambda: asyncio.events._event_loop_policy)
def the_event_loop():
    KEPT.append(asyncio.new_event_loop())
    asyncio.set_event_loop(KEPT[-1])


@CASES.changes(lambda: [list(warnings.filters), warnings.showwarning, warnings.formatwarning])
def filters_of_warnings():
    warnings.simplefilter("error")
    warnings.showwarning = warnings.formatwarning = print


REGISTRY = {}


def is_shown():
    """Return whether a warning is shown that each line shows once. To see it here does not count."""
    shown = []
    show, warnings.showwarning = warnings.showwarning, lambda *arguments: shown.append(arguments)
    registry = dict(REGISTRY)
    warnings.warn_explicit("shown once", UserWarning, "file", 1, registry=registry)
    warnings.showwarning = show
    return bool(shown)


@CASES.changes(is_shown)
def a_warning_that_is_shown_once():
    show, warnings.showwarning = warnings.showwarning, lambda *_: None
    warnings.warn_explicit("shown once", UserWarning, "file", 1, registry=REGISTRY)
    warnings.showwarning = show


class EachPart(TestCase):
    def test_is_put_back(self):
        self.assertEqual({}, CASES.run_forked())


if __name__ == "__main__":
    run_tests()
