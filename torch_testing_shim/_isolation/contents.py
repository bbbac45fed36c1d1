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
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
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


@dataclass(frozen=True)
class _Look:
    """How values of one type are looked at."""

    read: Callable[[Any], Any]  # returns the values that a value holds, or else what tells apart two states of it
    holds: bool = True
    is_limited: bool = False  # to containers of `_VALUES`
    is_large: bool = False  # of larger ones
    is_fixed: bool = False  # a value stays as it is


class _Read:
    """Contents of values of one type."""

    def __init__(self, look: _Look) -> None:
        self._look = look
        self._values: list[Any] = []
        self._types: list[type] = []
        self._before: list[Any] = []

    def add(self, value: Any, read: Any) -> None:
        self._values.append(value)
        self._types.append(type(value))
        self._before.append(read)

    def is_same(self) -> bool:
        """Return whether the same would be read now; False where that is not certain."""
        values, before = self._values, self._before
        if self._look.is_large or list(map(type, values)) != self._types:
            return False
        if self._look.is_limited and max(map(len, values)) > _VALUES:
            return False
        now = list(map(self._look.read, values))
        if not self._look.holds:
            return now == before
        if list(map(len, now)) != list(map(len, before)):
            return False
        now, before = list(chain.from_iterable(now)), list(chain.from_iterable(before))
        return all(map(operator.is_, now, before)) or all(map(_are_same, now, before))


class Summaries:
    """Makes summaries, and keeps what they name: an identity belongs to one value as long as that lives.

    Tests of one class share most of what they hold: decorators, and what these close over. So a value is looked at once
    in each round, and has the same summary object as in the round before where it has not changed.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._looks: dict[tuple[type, bool], _Look] = {}
        self._found: dict[tuple[int, int], Any] = {}  # of this round, by identity and depth
        self._before: dict[tuple[int, int], Any] = {}
        self._read: dict[_Look, _Read] = {}  # in this round, in values that may change
        self._looked: set[int] = set()  # at these

    def begin_round(self) -> None:
        """Look at each value again from now on."""
        self._before, self._found, self._read, self._looked = self._found, {}, {}, set()

    def are_as_found(self) -> bool:
        """Return whether nothing has changed in the values of this round, without making their summaries again. False
        where that is not certain."""
        return all(read.is_same() for read in self._read.values())

    def of_attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the summary of each attribute of a module or class."""
        own = {name: value for name, value in attributes.items() if name not in _SET_IN_USE}
        return {name: self.of(value) for name, value in own.items() if not _OF_COMPILE.match(name)}

    def of(self, value: Any, depth: int = _DEPTH) -> Any:
        """Return the summary of a value."""
        if type(value) in _ATOMS:
            return value
        number = id(value)
        if (known := self._found.get((number, depth))) is not None:
            return known
        self._kept.setdefault(number, value)
        content = self._content(value, depth - 1) if depth else None
        found = number if content is None else (number, content)
        before = self._before.get((number, depth))
        self._found[number, depth] = found = before if before == found else found
        return found

    def _content(self, value: Any, depth: int) -> Any:
        look = self._look_at(value)
        read = look.read(value)
        if not look.is_fixed and id(value) not in self._looked:
            self._looked.add(id(value))
            self._read.setdefault(look, _Read(look)).add(value, read)
        return tuple([self.of(each, depth) for each in read]) if look.holds else read

    def _look_at(self, value: Any) -> _Look:
        look = self._look_of(type(value))
        return self._look_of(type(value), is_large=True) if look.is_limited and len(value) > _VALUES else look

    def _look_of(self, kind: type, *, is_large: bool = False) -> _Look:
        if (look := self._looks.get((kind, is_large))) is None:
            look = self._looks[kind, is_large] = _look_for(kind, is_large=is_large)
        return look


def _are_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in _ATOMS and one == other)


def _look_for(kind: type, *, is_large: bool) -> _Look:
    if issubclass(kind, torch.Tensor):
        return _Look(_content_of_tensor, holds=False)
    if issubclass(kind, types.FunctionType):
        return _Look(_parts_of_function)
    if issubclass(kind, (staticmethod, classmethod)):
        return _Look(lambda value: (value.__func__,), is_fixed=True)
    if issubclass(kind, functools.partial):
        return _Look(lambda value: (value.func, value.args, value.keywords))
    if issubclass(kind, (types.MethodType, types.BuiltinFunctionType)):
        return _Look(lambda value: (value.__self__,), is_fixed=True)
    if not is_large and issubclass(kind, Mapping):
        return _Look(lambda value: [each for item in value.items() for each in item], is_limited=True)
    if not is_large and issubclass(kind, Sequence):
        return _Look(tuple, is_limited=True, is_fixed=kind is tuple)
    if not is_large and issubclass(kind, Set):
        return _Look(lambda value: frozenset(map(id, value)), holds=False, is_limited=True)
    if _has_own_state(kind):
        slots = copyreg._slotnames(kind)  # type: ignore[attr-defined]
        return _Look(lambda value: [getattr(value, name, None) for name in ("__dict__", *slots)], is_large=is_large)
    content = _content_of_opaque(kind)
    return _Look(content or _nothing, holds=False, is_large=is_large, is_fixed=content is None and not is_large)


def _has_own_state(kind: type) -> bool:
    is_of_tests = not is_of_library(sys.modules.get(kind.__module__))
    return (is_of_tests or issubclass(kind, _LOOKED_INTO)) and not issubclass(kind, type)


def _parts_of_function(value: types.FunctionType) -> list[Any]:
    cells = [_content_of_cell(cell) for cell in value.__closure__ or ()]
    return [value.__code__, value.__dict__, value.__defaults__, value.__kwdefaults__, *cells]


def _nothing(value: Any) -> None:
    """Return what is known of a value that shows no state."""


def _content_of_opaque(kind: type) -> Callable[[Any], Any] | None:
    """Return the function that returns what tells apart two states of an object of a type whose objects have no
    attributes; None where nothing does."""
    if issubclass(kind, bytearray | itertools.count):
        return repr
    if issubclass(kind, functools._lru_cache_wrapper):
        return lambda value: value.cache_info().currsize
    if issubclass(kind, random.Random):
        return lambda value: hash(value.getstate())
    if issubclass(kind, torch.Generator):
        return lambda value: value.get_state().numpy().tobytes() if value.device.type == "cpu" else None
    if issubclass(kind, io.StringIO | io.BytesIO):
        return lambda value: None if value.closed else value.getvalue()
    if issubclass(kind, queue.SimpleQueue):
        return lambda value: value.qsize()
    if issubclass(kind, types.GeneratorType):
        return lambda value: None if value.gi_frame is None else value.gi_frame.f_lasti
    if kind.__module__ == "builtins" and issubclass(kind, Iterator):
        return operator.length_hint
    return _content_of_numpy(kind)


def _content_of_numpy(kind: type) -> Callable[[Any], Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.ndarray):
        return lambda value: value.tobytes() if value.nbytes <= _BYTES and not value.dtype.hasobject else None
    if numpy is not None and issubclass(kind, numpy.random.Generator):
        return lambda value: repr(value.bit_generator.state)
    return None


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
