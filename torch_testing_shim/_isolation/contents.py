"""Summaries of values of a test's modules: two of one value are equal as long as nothing in it has changed.

A summary holds identities, in nested tuples, and so compares fast. It goes into containers, functions, instances of the
tests' own classes and of some of Python's and torch's. Of a small tensor or array it has the content; of a large tensor
the version, which each change in place raises unless it goes through `data`.
"""

from __future__ import annotations

import argparse
import copyreg
import ctypes
import functools
import io
import itertools
import operator
import queue
import random
import re
import sys
import threading
import types
import unittest.mock
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import torch

from torch_testing_shim._isolation.module_origins import is_of_library

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How deep a summary goes, and how many values of a container it looks into.
_DEPTH, _VALUES = 6, 1000
#: Tensors and arrays of at most so many bytes are compared by their content.
_BYTES = 1 << 14
#: Classes of libraries whose instances are looked into.
_LOOKED_INTO = (
    torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.utils.data.Dataset,
    torch.distributions.Distribution, types.SimpleNamespace, argparse.Namespace, threading.local, threading.Event,
    queue.Queue, unittest.mock.NonCallableMock,
)  # fmt: skip
#: Attributes of classes and modules that Python sets as they are used.
_SET_IN_USE = frozenset({
    "__warningregistry__", "__builtins__", "__abstractmethods__", "_abc_impl", "__doc__", "__dict__", "__weakref__",
    "__annotations__", "__slotnames__", "__cached__", "__loader__", "__spec__",
})  # fmt: skip
#: Names of globals that torch.compile adds to the module of a function.
_OF_COMPILE = re.compile(r"___|__(import|compiled_fn|resume_at|builtins_dict|stack)_")
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), range, slice})


class Summaries:
    """Makes summaries, and keeps what they name: an identity belongs to one value as long as that lives.

    Tests of one class share most of what they hold: decorators, and what these close over. So a value is looked at once
    in each round, and has the same summary object as in the round before where it has not changed.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._types: dict[type, bool] = {}
        self._found: dict[tuple[int, int], Any] = {}  # of this round, by identity and depth
        self._before: dict[tuple[int, int], Any] = {}

    def begin_round(self) -> None:
        """Look at each value again from now on."""
        self._before, self._found = self._found, {}

    def of_attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the summary of each attribute of a module or class."""
        own = {name: value for name, value in attributes.items() if name not in _SET_IN_USE}
        return {name: self.of(value) for name, value in own.items() if not _OF_COMPILE.match(name)}

    def of(self, value: Any, depth: int = _DEPTH) -> Any:
        """Return the summary of a value."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        number = id(value)
        if (known := self._found.get((number, depth))) is not None:
            return known
        self._kept.setdefault(number, value)
        content = self._content(value, kind, depth - 1) if depth else None
        found = number if content is None else (number, content)
        before = self._before.get((number, depth))
        self._found[number, depth] = found = before if before == found else found
        return found

    def _content(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, torch.Tensor):
            return _content_of_tensor(value)
        if issubclass(kind, types.FunctionType):
            cells = [_content_of_cell(cell) for cell in value.__closure__ or ()]
            return self._many((value.__code__, value.__dict__, value.__defaults__, value.__kwdefaults__, *cells), depth)
        if issubclass(kind, (staticmethod, classmethod)):
            return self.of(value.__func__, depth)
        if issubclass(kind, functools.partial):
            return self._many((value.func, value.args, value.keywords), depth)
        if issubclass(kind, (types.MethodType, types.BuiltinFunctionType)):
            return self.of(value.__self__, depth)
        if issubclass(kind, Mapping) and len(value) <= _VALUES:
            return self._many([each for item in value.items() for each in item], depth)
        if issubclass(kind, Sequence) and len(value) <= _VALUES:
            return self._many(value, depth)
        if issubclass(kind, Set) and len(value) <= _VALUES:
            return frozenset(map(id, value))
        if self._has_own_state(kind):
            slots = [getattr(value, name, None) for name in copyreg._slotnames(kind)]  # type: ignore[attr-defined]
            return self._many((getattr(value, "__dict__", None), *slots), depth)
        return _opaque_content(value, kind)

    def _many(self, values: Sequence[Any], depth: int) -> tuple[Any, ...]:
        return tuple([self.of(each, depth) for each in values])

    def _has_own_state(self, kind: type) -> bool:
        if kind not in self._types:
            is_of_tests = not is_of_library(sys.modules.get(kind.__module__))
            self._types[kind] = (is_of_tests or issubclass(kind, _LOOKED_INTO)) and not issubclass(kind, type)
        return self._types[kind]


def _opaque_content(value: Any, kind: type) -> Any:
    """Return what tells apart two states of an object that has no attributes; None where nothing does."""
    if issubclass(kind, bytearray | itertools.count):
        return repr(value)
    if issubclass(kind, functools._lru_cache_wrapper):
        return value.cache_info().currsize
    if issubclass(kind, random.Random):
        return hash(value.getstate())
    if issubclass(kind, torch.Generator):
        return value.get_state().numpy().tobytes() if value.device.type == "cpu" else None
    if issubclass(kind, io.StringIO | io.BytesIO):
        return None if value.closed else value.getvalue()
    if issubclass(kind, queue.SimpleQueue):
        return value.qsize()
    if issubclass(kind, types.GeneratorType):
        return None if value.gi_frame is None else value.gi_frame.f_lasti
    if kind.__module__ == "builtins" and issubclass(kind, Iterator):
        return operator.length_hint(value)
    return _content_of_numpy(value, kind)


def _content_of_numpy(value: Any, kind: type) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if issubclass(kind, numpy.ndarray):
        return value.tobytes() if value.nbytes <= _BYTES and not value.dtype.hasobject else None
    return repr(value.bit_generator.state) if issubclass(kind, numpy.random.Generator) else None


def _content_of_tensor(value: torch.Tensor) -> tuple[Any, ...]:
    """Return a tensor's version, and what changes without a new one: its gradient, its hooks, and its values, which
    `data` and arrays that share its memory change. These are left out where there are many."""
    version = 0 if value.is_inference() else value._version
    grad = id(value.grad) if value.is_leaf else 0
    state = (version, value.requires_grad, grad, len(value._backward_hooks or ()))
    is_plain = type(value) in (torch.Tensor, torch.nn.Parameter) and value.device.type == "cpu"
    if not is_plain or value.layout is not torch.strided or not value.is_contiguous() or value.nbytes > _BYTES:
        return state
    return (*state, ctypes.string_at(value.data_ptr(), value.nbytes))


def _content_of_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been assigned yet
        return None
