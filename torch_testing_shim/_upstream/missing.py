"""Stand-ins for names that this package lacks: a test file that imports one loads, and what uses it fails.

What a test file does with a name while it is being loaded may not stop its other tests. So there a stand-in can be
called, be a decorator and be a base class, and the tests that it decorates or that inherit from it fail. Everything
else that one could do with it raises `MissingNameError` at once; above all a call in a test's body, which would
otherwise be a check that was never made.
"""

from __future__ import annotations

import functools
import inspect
import sys
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from torch_testing_shim._upstream.asking import asking_frame

__all__ = ["MissingName", "MissingNameError", "importing_file"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class MissingNameError(NotImplementedError):
    """A test uses a name of `torch.testing._internal` that this package does not have; the message names both."""


@dataclass(eq=False)  # not frozen: a package may patch what it imports
class MissingName:
    """Stands in for one name.

    Attributes:
        name: its full name, "torch.testing._internal.common_utils.some_name".
        wanted_by: the file that imports it.
    """

    name: str
    wanted_by: str

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
        """What a class inherits from instead: a test case, so that its tests are found, and fail."""
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
                    stand_in._use()  # no test of unittest's: a model, say
                super().__init__(*args)

        return MissingBase

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and its libraries ask of any object
            raise AttributeError(name)
        if _is_loading(sys._getframe(1)):
            return MissingName(f"{self.name}.{name}", self.wanted_by)
        self._use()

    __bool__ = __iter__ = __len__ = __getitem__ = __contains__ = __enter__ = __int__ = __float__ = __index__ = _use
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __mul__ = __or__ = _use
    __instancecheck__ = __subclasscheck__ = _use
    __hash__ = object.__hash__


def importing_file() -> str:
    """The file whose code asks for a name."""
    frame = asking_frame()
    return frame.f_code.co_filename if frame is not None else "an unknown file"


def _is_loading(frame: FrameType) -> bool:
    """True for a frame that runs a module's or a class's body, not a function's."""
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED
