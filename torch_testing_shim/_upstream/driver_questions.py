"""Asks the questions of torch's own modules to an accelerator's driver where it may start (see `_engine.driver`).

Some of torch's modules ask as they are imported: its table of operators needs the device's capability. In the test
process, in the runner's warm interpreter and wherever ranks are forked from, that would start a driver for good. So
their calls are rewritten, and while they run, torch's functions that they call ask in the same way.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from torch_testing_shim._engine.driver import DRIVER, accelerator_type

#: Functions whose answer stays the same for as long as a process lives.
QUESTIONS = frozenset(
    {
        "numba.cuda.is_available",
        "torch.accelerator.device_count",
        "torch.accelerator.is_available",
        "torch.backends.cudnn.version",
        "torch.cuda.can_device_access_peer",
        "torch.cuda.device_count",
        "torch.cuda.get_device_capability",
        "torch.cuda.get_device_name",
        "torch.cuda.get_device_properties",
        "torch.cuda.is_available",
        "torch.xpu.device_count",
        "torch.xpu.get_device_capability",
        "torch.xpu.get_device_properties",
        "torch.xpu.is_available",
    }
)


def rewritten(call: ast.Call) -> ast.Call:
    """Route a call through `ask` where it calls one of `QUESTIONS`."""
    if not isinstance(call.func, ast.Attribute) or (path := ast.unparse(call.func)) not in QUESTIONS:
        return call
    module = ast.parse(f"__import__({__name__!r}, None, None, ['ask']).ask", mode="eval").body
    return ast.copy_location(ast.Call(module, [ast.Constant(path), *call.args], call.keywords), call)


def ask(path: str, *arguments: Any, **named: Any) -> Any:
    """Return the result of the function at `path` for the arguments.

    A replacement by a test or by the device map is called in this process, and so is a call with named arguments."""
    function = getattr(*_place(path))
    if not _is_librarys(function, path):
        return function(*arguments, **named)
    return _asked(path, function, *arguments, **named)


@contextmanager
def asking() -> Iterator[None]:
    """Make calls of the functions of `QUESTIONS` ask as `ask` does in the block."""
    with ExitStack() as replaced:
        for path in QUESTIONS if accelerator_type() is not None else ():
            if path.startswith("torch."):
                module, name = _place(path)
                function = getattr(module, name)
                if _is_librarys(function, path):
                    setattr(module, name, _Asking(path, function))
                    replaced.callback(setattr, module, name, function)
        yield


@dataclass(frozen=True)
class _Asking:
    """Stands for the function at `path`, and asks. Another process unpickles what stands there."""

    path: str
    function: Callable[..., Any]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _asked(self.path, self.function, *arguments, **named)

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return _found, (self.path,)


def _found(path: str) -> Any:
    return getattr(*_place(path))


def _place(path: str) -> tuple[Any, str]:
    module, _, name = path.rpartition(".")
    return importlib.import_module(module), name


def _is_librarys(function: object, path: str) -> bool:
    return getattr(function, "__module__", "").partition(".")[0] == path.partition(".")[0]


def _asked(path: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if named or accelerator_type() is None:
        return function(*arguments, **named)
    question = _properties if path.endswith(".get_device_properties") else _answer
    return DRIVER.ask(question, path, *arguments)


def _answer(path: str, *arguments: Any) -> Any:
    """Return the library's own answer, whatever replaces the function; runs in the process that may ask."""
    function = getattr(*_place(path))
    if isinstance(function, _Asking):
        function = function.function
    return function(*arguments)


def _properties(path: str, *arguments: Any) -> SimpleNamespace:
    """Return the properties of a device, as an object that can be pickled, which torch's own cannot."""
    module = torch.get_device_module(path.split(".")[1])
    properties = module.get_device_properties(*arguments)
    names = [name for name in dir(properties) if not name.startswith("_")]
    return SimpleNamespace(
        **{name: value for name in names if isinstance(value := getattr(properties, name), str | int | float | bool)}
    )
