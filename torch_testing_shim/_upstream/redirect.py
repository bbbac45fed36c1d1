"""The import finder that serves `torch.testing._internal` from this package, to test files and to torch itself.

    torch.testing._internal.common_utils is torch_testing_shim.common_utils

The two are one module under two names: a face, or torch's own module built on ours (see `graft`, `modules`). So a value
that a test file assigns to a name of it counts everywhere, and patches of `mock` and pytest work.

It is installed only in a process that runs an upstream file, and in processes that this one forks.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from torch_testing_shim._upstream.graft import bring_along, stand_in_for_missing
from torch_testing_shim._upstream.modules import DYNAMO_CASES, SERVED_DYNAMO_CASES, source_file
from torch_testing_shim._upstream.rewriting import SHIM, below_upstream

_DYNAMO = "torch._dynamo"


def install() -> None:
    """Install the finder as the first one. Modules of torch's harness that are already imported are served anew."""
    if is_installed():
        return
    sys.meta_path.insert(0, _Finder())
    stand_in_for_missing()
    for name in [name for name in sys.modules if below_upstream(name) is not None or name == DYNAMO_CASES]:
        del sys.modules[name]
    if _DYNAMO in sys.modules:
        _answer_for_cases(sys.modules[_DYNAMO])


def is_installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def shim_module_of(name: str) -> str | None:
    """Return the module of this package that serves upstream's module `name`; None for none. Import nothing."""
    below = below_upstream(name)
    is_served = below is not None and (has_face(name) or source_file(below) is not None)
    return f"{SHIM}.{below}".rstrip(".") if is_served else None


def has_face(name: str) -> bool:
    """Whether this package has a module of its own for upstream's module `name`."""
    below = below_upstream(name)
    if below is None or below.startswith("_"):
        return False
    place = Path(__file__).parents[1].joinpath(*filter(None, below.split(".")))
    return (place / "__init__.py").is_file() or place.with_suffix(".py").is_file()


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _DYNAMO:
            return _dynamo_spec(path)
        if fullname == DYNAMO_CASES:
            return ModuleSpec(fullname, _Alias(f"{SHIM}.{SERVED_DYNAMO_CASES}"))
        if below_upstream(fullname) is None:
            return None
        shim = shim_module_of(fullname)
        if shim is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return ModuleSpec(fullname, _Alias(shim))


class _Alias(Loader):
    """Gives a module of this package a second name. The module keeps its own spec."""

    def __init__(self, shim: str) -> None:
        self._shim = shim

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        bring_along(self._shim)
        module = importlib.import_module(self._shim)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _dynamo_spec(path: Sequence[str] | None) -> ModuleSpec | None:
    spec = PathFinder.find_spec(_DYNAMO, path)
    if spec is not None and isinstance(spec.loader, SourceFileLoader):
        spec.loader = _DynamoLoader(spec.loader.name, spec.loader.path)
    return spec


class _DynamoLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _answer_for_cases(module)


def _answer_for_cases(dynamo: ModuleType) -> None:
    """Make dynamo import its test cases when a file asks for them. Test files find them there without importing them,
    since upstream's `common_distributed` does."""

    def __getattr__(name: str) -> ModuleType:
        if f"{_DYNAMO}.{name}" == DYNAMO_CASES:
            return importlib.import_module(DYNAMO_CASES)
        raise AttributeError(f"module {_DYNAMO!r} has no attribute {name!r}")

    vars(dynamo).pop(DYNAMO_CASES.rpartition(".")[2], None)
    vars(dynamo).setdefault("__getattr__", __getattr__)
