"""What tests leave of the interpreter, of the standard library, and of the test file itself."""

import asyncio
import builtins
import codecs
import contextvars
import copyreg
import decimal
import faulthandler
import functools
import gc
import json
import logging
import multiprocessing
import os
import random
import shutil
import socket
import sys
import threading
import time
import tracemalloc
import types
import unittest
import warnings
from typing import ClassVar
from unittest import mock

import hypothesis
from left_state import LeftState, LeftStateTestCase, with_tests

from torch_testing_shim.common_utils import run_tests

#: Globals of a test file, which tests change.
NUMBER = 0
SEEN = []
TABLE = {"nested": {"deep": []}}
CONTEXT = contextvars.ContextVar("CONTEXT", default="unset")


OF_THREAD = threading.local()
EVENT = threading.Event()
MOCK = mock.Mock()
NUMBERS = iter([1, 2, 3])


class Helper:
    """A class that a test file brings."""

    count = 0
    instances: ClassVar[list[int]] = []

    def answer(self) -> str:
        return "own"


@functools.lru_cache
def cached(key: str) -> int:
    return time.monotonic_ns()


def counted() -> int:
    counted.calls += 1
    return counted.calls


counted.calls = 0


def here() -> types.ModuleType:
    return sys.modules[OfThisModule.__module__]


class OfThisModule:
    """Names this module, which is `__main__` or not."""


def change(name: str, value: object) -> None:
    setattr(here(), name, value)


def shown(function: object) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


def fake(*arguments: object, **named: object) -> str:
    return "fake"


def asyncio_loop() -> bool:
    return asyncio.get_event_loop_policy()._local.__dict__.get("_loop") is not None


def fill_cache() -> None:
    cached("key")


def add_handler() -> None:
    logging.getLogger().addHandler(logging.NullHandler())


def import_time_module() -> None:
    """A module that shadows one of the standard library which nothing has imported."""
    sys.modules["sndhdr_of_a_test"] = types.ModuleType("sndhdr_of_a_test")


def replace_module() -> None:
    sys.modules["json"] = types.ModuleType("json")


def forget_module() -> None:
    del sys.modules["decimal"]


def load_profile() -> None:
    hypothesis.settings.register_profile("left", max_examples=1)
    hypothesis.settings.load_profile("left")


def loaded(name: str) -> bool:
    module = sys.modules.get(name)
    return module is globals().get(name)


class Finder:
    @classmethod
    def find_spec(cls, name: str, path: object, target: object = None) -> None:
        return None


class Shouting(logging.Logger):
    pass


class PythonLeft(LeftStateTestCase):
    number = 0
    items: ClassVar[list[int]] = []

    states = (
        LeftState("import path", lambda _: sys.path.insert(0, "/left"), lambda _: "/left" in sys.path),
        LeftState("import path replaced", lambda _: setattr(sys, "path", []), lambda _: len(sys.path)),
        LeftState(
            "module that was not there", lambda _: import_time_module(), lambda _: "sndhdr_of_a_test" in sys.modules
        ),
        LeftState("module replaced", lambda _: replace_module(), lambda _: loaded("json")),
        LeftState("module forgotten", lambda _: forget_module(), lambda _: loaded("decimal")),
        LeftState(
            "import hook", lambda _: sys.meta_path.append(Finder), lambda _: [shown(each) for each in sys.meta_path]
        ),
        LeftState("arguments", lambda _: sys.argv.append("--left"), lambda _: "--left" in sys.argv),
        LeftState("level of the root logger", lambda _: logging.getLogger().setLevel(5), lambda _: logging.root.level),
        LeftState(
            "level of a logger",
            lambda _: logging.getLogger("torch.distributed").setLevel(5),
            lambda _: logging.getLogger("torch.distributed").level,
        ),
        LeftState("handler of the root logger", lambda _: add_handler(), lambda _: len(logging.root.handlers)),
        LeftState("logging disabled", lambda _: logging.disable(), lambda _: logging.root.manager.disable),
        LeftState("class of loggers", lambda _: logging.setLoggerClass(Shouting), lambda _: logging.getLoggerClass()),
        LeftState("warning filter", lambda _: warnings.simplefilter("error"), lambda _: warnings.filters[:1]),
        LeftState(
            "way to show warnings",
            lambda _: setattr(warnings, "showwarning", fake),
            lambda _: shown(warnings.showwarning),
        ),
        LeftState("random numbers", lambda _: random.seed(7), lambda _: random.getstate()[1][0]),
        LeftState("exception hook", lambda _: setattr(sys, "excepthook", fake), lambda _: shown(sys.excepthook)),
        LeftState("trace function", lambda _: sys.settrace(lambda *_: None), lambda _: sys.gettrace() is None),
        LeftState("profile function", lambda _: sys.setprofile(lambda *_: None), lambda _: sys.getprofile() is None),
        LeftState("recursion limit", lambda _: sys.setrecursionlimit(5000), lambda _: sys.getrecursionlimit()),
        LeftState("switch interval", lambda _: sys.setswitchinterval(1.0), lambda _: sys.getswitchinterval()),
        LeftState("garbage collector off", lambda _: gc.disable(), lambda _: gc.isenabled()),
        LeftState("garbage collector's threshold", lambda _: gc.set_threshold(7), lambda _: gc.get_threshold()),
        LeftState(
            "precision of decimals",
            lambda _: setattr(decimal.getcontext(), "prec", 3),
            lambda _: decimal.getcontext().prec,
        ),
        LeftState(
            "handler of errors of codecs",
            lambda _: codecs.register_error("strict", codecs.ignore_errors),
            lambda _: codecs.lookup_error("strict") is codecs.strict_errors,
        ),
        LeftState(
            "code of a function of the standard library",
            lambda _: setattr(shutil.which, "__code__", fake.__code__),
            lambda _: shutil.which("no such command"),
            replaced="which was given other code",
            is_late=True,
        ),
        LeftState("socket time-out", lambda _: socket.setdefaulttimeout(0.5), lambda _: socket.getdefaulttimeout()),
        LeftState("context variable", lambda _: CONTEXT.set("left"), lambda _: CONTEXT.get()),
        LeftState(
            "start method of multiprocessing",
            lambda _: multiprocessing.set_start_method("forkserver", force=True),
            lambda _: multiprocessing.get_start_method(allow_none=True),
        ),
        LeftState(
            "event loop", lambda _: asyncio.set_event_loop(asyncio.SelectorEventLoop()), lambda _: asyncio_loop()
        ),
        LeftState(
            "dump of stacks later, with an exit",
            lambda _: faulthandler.dump_traceback_later(0.2, exit=True),
            lambda _: time.sleep(0.4),
        ),
        LeftState("faulthandler off", lambda _: faulthandler.disable(), lambda _: faulthandler.is_enabled()),
        LeftState("built-in", lambda _: setattr(builtins, "hex", fake), lambda _: shown(hex), replaced="hex"),
        LeftState(
            "new built-in",
            lambda _: setattr(builtins, "left", 1),
            lambda _: hasattr(builtins, "left"),
            replaced="builtins.left",
        ),
        LeftState(
            "function of the standard library",
            lambda _: setattr(time, "asctime", fake),
            lambda _: shown(time.asctime),
            replaced="asctime",
        ),
        LeftState(
            "method of the standard library",
            lambda _: setattr(json.JSONDecoder, "decode", fake),
            lambda _: shown(json.JSONDecoder.decode),
            replaced="decode",
        ),
        LeftState(
            "patch that is active",
            lambda _: mock.patch("os.path.exists", fake).start(),
            lambda _: shown(os.path.exists),
            replaced="exists",
        ),
        LeftState(
            "patch of the environment",
            lambda _: mock.patch.dict(os.environ, LEFT_BY_A_PATCH="1").start(),
            lambda _: os.environ.get("LEFT_BY_A_PATCH"),
            replaced="a dictionary",
        ),
        LeftState(
            "patch of a helper",
            lambda _: mock.patch.object(Helper, "answer", fake).start(),
            lambda _: shown(Helper.answer),
            replaced="answer",
        ),
        LeftState("global of the file", lambda _: change("NUMBER", 1), lambda _: here().NUMBER, replaced="NUMBER"),
        LeftState("list of the file", lambda _: SEEN.append(1), lambda _: len(SEEN), replaced="SEEN"),
        LeftState(
            "list in a table of the file",
            lambda _: TABLE["nested"]["deep"].append(1),
            lambda _: len(TABLE["nested"]["deep"]),
            replaced="TABLE",
        ),
        LeftState("new global", lambda _: change("FRESH", 1), lambda _: hasattr(here(), "FRESH"), replaced="FRESH"),
        LeftState("class replaced", lambda _: change("Shouting", 1), lambda _: Shouting, replaced="Shouting"),
        LeftState(
            "attribute of the class",
            lambda test: setattr(type(test), "number", 1),
            lambda test: test.number,
            replaced="number",
        ),
        LeftState(
            "list of the class", lambda test: test.items.append(1), lambda test: len(test.items), replaced="items"
        ),
        LeftState(
            "new attribute of the class",
            lambda test: setattr(type(test), "left", 1),
            lambda test: hasattr(test, "left"),
            replaced="left",
        ),
        LeftState(
            "attribute of a base class",
            lambda _: setattr(LeftStateTestCase, "left_in_base", 1),
            lambda test: hasattr(test, "left_in_base"),
            replaced="left_in_base",
        ),
        LeftState(
            "attribute of unittest's class",
            lambda _: setattr(unittest.TestCase, "longMessage", False),
            lambda _: vars(unittest.TestCase)["longMessage"],
            replaced="longMessage",
        ),
        LeftState(
            "attribute of a helper", lambda _: setattr(Helper, "count", 1), lambda _: Helper.count, replaced="count"
        ),
        LeftState(
            "list of a helper",
            lambda _: Helper.instances.append(1),
            lambda _: len(Helper.instances),
            replaced="instances",
        ),
        LeftState("cached value", lambda _: fill_cache(), lambda _: cached.cache_info().currsize, replaced="cached"),
        LeftState("attribute of a function", lambda _: counted(), lambda _: counted.calls, replaced="counted"),
        LeftState(
            "default of a function",
            lambda _: setattr(fake, "__kwdefaults__", {"x": 1}),
            lambda _: fake.__kwdefaults__,
            replaced="fake",
        ),
        LeftState("traced memory", lambda _: tracemalloc.start(), lambda _: tracemalloc.is_tracing()),
        LeftState(
            "running event loop",
            lambda _: asyncio._set_running_loop(asyncio.SelectorEventLoop()),
            lambda _: asyncio._get_running_loop() is None,
        ),
        LeftState(
            "profile of hypothesis", lambda _: load_profile(), lambda _: hypothesis.settings.default.max_examples
        ),
        LeftState(
            "mock among the modules",
            lambda _: sys.modules.update(left_by_a_test=mock.MagicMock()),
            lambda _: "left_by_a_test" in sys.modules,
        ),
        LeftState(
            "copier of a class",
            lambda _: copyreg.pickle(Helper, shown),
            lambda _: Helper in copyreg.dispatch_table,
            replaced="dispatch_table",
        ),
        LeftState(
            "name of a level",
            lambda _: logging.addLevelName(logging.INFO, "LEFT"),
            lambda _: logging.getLevelName(logging.INFO),
            replaced="_levelToName",
        ),
        LeftState(
            "value of a thread",
            lambda _: setattr(OF_THREAD, "left", 1),
            lambda _: vars(OF_THREAD),
            replaced="OF_THREAD",
        ),
        LeftState("event", lambda _: EVENT.set(), lambda _: EVENT.is_set(), replaced="EVENT"),
        LeftState("calls of a mock", lambda _: MOCK(), lambda _: MOCK.call_count, replaced="MOCK"),
        LeftState("iterator", lambda _: next(NUMBERS), lambda _: NUMBERS.__length_hint__(), replaced="NUMBERS"),
    )


with_tests(PythonLeft)

if __name__ == "__main__":
    run_tests()
