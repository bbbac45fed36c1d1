"""State that tests leave in the interpreter, in the standard library, and in the test file itself."""

import builtins
import contextvars
import copyreg
import faulthandler
import functools
import json
import logging
import multiprocessing
import os
import shutil
import sys
import threading
import time
import types
import unittest
from typing import ClassVar
from unittest import mock

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


def fill_cache() -> None:
    cached("key")


class Shouting(logging.Logger):
    pass


class PythonLeft(LeftStateTestCase):
    number = 0
    items: ClassVar[list[int]] = []

    states = (
        LeftState("import path replaced", lambda _: setattr(sys, "path", []), lambda _: len(sys.path)),
        LeftState(
            "code of a function of the standard library",
            lambda _: setattr(shutil.which, "__code__", fake.__code__),
            lambda _: shutil.which("no such command"),
            replaced="which was given other code",
            is_late=True,
        ),
        LeftState("context variable", lambda _: CONTEXT.set("left"), lambda _: CONTEXT.get()),
        LeftState(
            "start method of multiprocessing",
            lambda _: multiprocessing.set_start_method("forkserver", force=True),
            lambda _: multiprocessing.get_start_method(allow_none=True),
        ),
        LeftState(
            "dump of stacks later, with an exit",
            lambda _: faulthandler.dump_traceback_later(0.2, exit=True),
            lambda _: time.sleep(0.4),
        ),
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
