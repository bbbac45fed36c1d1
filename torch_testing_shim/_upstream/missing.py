"""Stand-ins for names that torch lacks too: a test file that imports one loads, and the tests that use it fail.

Uses of a name while the file is loaded must not stop the file's other tests. So a stand-in can be called there, and be
a decorator or a base class, and the tests that it decorates or that inherit from it fail. Every other use raises
`MissingNameError` at once, above all a call in a test's body, which would otherwise be a check that was never made.

Files support several versions of torch by `hasattr`, `getattr` with a default, or an import whose ImportError they
catch. These get the answer that they would get upstream; only a name that is needed gets a stand-in.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import linecache
import os
import sys
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_HERE = os.path.dirname(__file__)
_CATCHES_ALL = {"Exception", "BaseException"}


class MissingNameError(NotImplementedError):
    """A test uses a name of `torch.testing._internal` that the installed torch lacks; the message names both."""


@dataclass(eq=False)  # not frozen: a package may patch what it imports
class MissingName:
    """Stands in for one name."""

    name: str  # its full name, "torch.testing._internal.common_utils.some_name"
    wanted_by: str  # the file that imports it, for messages

    def _use(self, *_: object, **__: object) -> NoReturn:
        raise MissingNameError(f"the installed torch has no {self.name}, which {self.wanted_by} uses")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not _is_loading(sys._getframe(1)):
            self._use()
        if len(args) == 1 and not kwargs and inspect.isfunction(args[0]):
            return self._failing(args[0])
        if len(args) == 1 and not kwargs and inspect.isclass(args[0]):
            return self._with_failing_tests(args[0])
        return self  # a decorator's arguments, or a value that the file makes of it

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """Make a class inherit from a test case instead, so that its tests are found, and fail."""
        return (self._base_class(),)

    def _failing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def fail(*_: object, **__: object) -> NoReturn:
            self._use()

        return fail

    def _with_failing_tests(self, cls: type) -> type:
        for name in unittest.defaultTestLoader.getTestCaseNames(cls):
            setattr(cls, name, self._failing(getattr(cls, name)))
        return cls

    def _base_class(self) -> type:
        stand_in = self

        class MissingBase(unittest.TestCase):
            def __init_subclass__(cls, **_: Any) -> None:
                super().__init_subclass__()
                stand_in._with_failing_tests(cls)

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if args and not (isinstance(args[0], str) and (hasattr(self, args[0]) or args[0] == "runTest")):
                    stand_in._use()  # not for a test of unittest's, but for a model, say
                super().__init__(*args)

        return MissingBase

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and its libraries ask these of any object
            raise AttributeError(name)
        if _is_loading(sys._getframe(1)):
            return MissingName(f"{self.name}.{name}", self.wanted_by)
        self._use()

    __bool__ = __iter__ = __len__ = __getitem__ = __contains__ = __enter__ = __int__ = __float__ = __index__ = _use
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __mul__ = __or__ = _use
    __instancecheck__ = __subclasscheck__ = _use
    __hash__ = object.__hash__


def importing_file() -> str:
    """Return the file whose code asks for a name."""
    frame = _asking_frame()
    return frame.f_code.co_filename if frame is not None else "an unknown file"


def _is_loading(frame: FrameType) -> bool:
    """Whether the frame runs the body of a module or a class, not of a function."""
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED


def _asking_frame() -> FrameType | None:
    """Return the frame for which the import machinery, or this package's part of it, works."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if os.path.dirname(file) != _HERE and not file.startswith("<frozen importlib") and "/importlib/" not in file:
            return frame
        frame = frame.f_back
    return None


def is_prepared_for_absence() -> bool:
    """Whether the code that asks for a name does so by `hasattr` or the like, or catches the error."""
    frame = _asking_frame()
    if frame is None:
        return False
    operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
    if "CALL" in operation:  # of a builtin: a Python function would have a frame of its own
        return True
    error = "ImportError" if operation.startswith("IMPORT") else "AttributeError"
    guarded = _guarded_lines(frame.f_code.co_filename)
    return any(lines[0] <= frame.f_lineno <= lines[1] for caught, lines in guarded if caught in {error, *_CATCHES_ALL})


@functools.cache
def _guarded_lines(path: str) -> list[tuple[str, tuple[int, int]]]:
    """Return the exceptions that a file catches, with the first and last line of each guarded block."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:  # no file
        return []
    return [(name, lines) for node in ast.walk(tree) for name, lines in _caught_by(node)]


def _caught_by(node: ast.AST) -> Iterator[tuple[str, tuple[int, int]]]:
    if isinstance(node, ast.Try):
        types = [handler.type for handler in node.handlers]
        names = [name for each in types for name in (_names_in(each) if each is not None else ["BaseException"])]
    elif isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        suppressing = [call for call in calls if "suppress" in _names_in(call.func)]
        names = [name for call in suppressing for each in call.args for name in _names_in(each)]
    else:
        return
    lines = node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno
    yield from ((name, lines) for name in names)


def _names_in(node: ast.expr) -> list[str]:
    """Return the last parts of the names in an expression such as `module.Error` or `(Error, Other)`."""
    if isinstance(node, ast.Tuple):
        return [name for each in node.elts for name in _names_in(each)]
    return [node.attr] if isinstance(node, ast.Attribute) else [node.id] if isinstance(node, ast.Name) else []
