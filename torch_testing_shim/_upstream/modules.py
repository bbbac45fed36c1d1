"""The import finder for modules that only torch has: `import torch_testing_shim.common_modules`.

The module is the installed torch's, run as a whole under this package's name, with its imports of
`torch.testing._internal` served from this package. Its file is torch's, so tracebacks and `inspect` show torch's lines.
Classes carry a name that every process can import, which is what pickle and spawn need.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from torch_testing_shim._upstream.sources import source_file

_SHIM = __package__.partition(".")[0]


def install() -> None:
    """Puts the finder last: it is asked for what this package does not have."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def below(package: str) -> Callable[[str], ModuleType]:
    """The `__getattr__` of a package: a module that nobody has imported yet, as files may leave it to others."""

    def __getattr__(name: str) -> ModuleType:
        if name.startswith("__") or source_file(f"{package}.{name}"[len(_SHIM) + 1 :]) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return __getattr__


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{_SHIM}."):
            return None
        name = fullname[len(_SHIM) + 1 :]
        source = source_file(name)
        if source is None:
            return None
        spec = ModuleSpec(fullname, _Loader(name, source), origin=str(source), is_package=source.name == "__init__.py")
        spec.has_location = True  # and an empty list of places for what is below: this finder is asked for it
        return spec


class _Loader(InspectLoader):
    def __init__(self, name: str, source: Path) -> None:
        self._name, self._source = name, source

    def get_code(self, fullname: str) -> CodeType:
        from torch_testing_shim._upstream.compiled import module_code  # here, since it imports torch

        return module_code(self._name, self._source)

    def get_source(self, fullname: str) -> str:
        return self._source.read_text(encoding="utf-8")

    def is_package(self, fullname: str) -> bool:
        return self._source.name == "__init__.py"

    def exec_module(self, module: ModuleType) -> None:
        from torch_testing_shim._upstream.driver_questions import asking
        from torch_testing_shim._upstream.graft import served

        with asking():
            super().exec_module(module)
        vars(module).setdefault("__getattr__", served(module.__name__))
