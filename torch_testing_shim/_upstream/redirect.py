"""The import finder that serves `torch.testing._internal` and its modules from this package.

    torch.testing._internal.common_utils is
        torch_testing_shim.common_utils               where this package has the module
        a module of stand-ins (see `missing`)         where only PyTorch has it, for everything but torch itself
        PyTorch's own module                          for torch itself, which imports some of its harness

Installed only in a process that runs an upstream file, and in what that process forks.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import torch

from torch_testing_shim._upstream.missing import MissingName

__all__ = ["UPSTREAM", "install", "is_installed", "shim_module_of"]

#: The package that is served.
UPSTREAM = "torch.testing._internal"
_SHIM = __package__.partition(".")[0]
_TORCH_FOLDER = f"{Path(torch.__file__).parent}{os.sep}"
_UPSTREAM_FOLDER = Path(torch.__file__).parent / "testing" / "_internal"


def install() -> None:
    """Puts the finder first. What torch has already imported of its harness is served anew for those that come."""
    if is_installed():
        return
    sys.meta_path.insert(0, _Finder())
    for name in [name for name in sys.modules if name == UPSTREAM or name.startswith(f"{UPSTREAM}.")]:
        if shim_module_of(name) is not None:
            del sys.modules[name]


def is_installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def shim_module_of(name: str) -> str | None:
    """The module of this package that serves upstream's module `name`; None where there is none."""
    below = name[len(UPSTREAM) :].lstrip(".")
    if below.startswith("_"):  # one of ours, no face
        return None
    shim = f"{_SHIM}.{below}" if below else _SHIM
    try:
        return shim if importlib.util.find_spec(shim) is not None else None
    except ModuleNotFoundError:
        return None


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != UPSTREAM and not fullname.startswith(f"{UPSTREAM}."):
            return None
        shim = shim_module_of(fullname)
        if shim is None and (not _exists_upstream(fullname) or _importing_file().startswith(_TORCH_FOLDER)):
            return None
        spec = ModuleSpec(fullname, _Loader(shim), is_package=_is_package(fullname))
        if spec.submodule_search_locations is not None:  # what torch itself wants is found there
            spec.submodule_search_locations[:] = [str(_folder_of(fullname))]
        return spec


class _Loader(Loader):
    """Makes a module whose names are those of `shim`, asked for when they are wanted."""

    def __init__(self, shim: str | None) -> None:
        self._shim = shim

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _ServedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert isinstance(module, _ServedModule)
        if self._shim is not None and self._shim != _SHIM:
            module.serve(importlib.import_module(self._shim))


class _ServedModule(ModuleType):
    """A module of upstream's name with the names of one of this package."""

    def serve(self, shim: ModuleType) -> None:
        self.__dict__["_shim"] = shim
        self.__doc__ = shim.__doc__
        public = [name for name in vars(shim) if not name.startswith("_")]
        lazy = getattr(shim, "LAZY_FLAGS", ())
        self.__dict__["__all__"] = sorted({*public, *getattr(shim, "__all__", ()), *lazy})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        shim = self.__dict__.get("_shim")
        if shim is not None:
            try:
                return getattr(shim, name)
            except AttributeError:
                pass
        full_name = f"{self.__name__}.{name}"
        if _exists_upstream(full_name):  # a module that nobody has imported yet
            return importlib.import_module(full_name)
        return MissingName(full_name, _importing_file())


def _folder_of(name: str) -> Path:
    return _UPSTREAM_FOLDER.joinpath(*name[len(UPSTREAM) :].lstrip(".").split("."))


def _is_package(name: str) -> bool:
    return _folder_of(name).is_dir()


def _exists_upstream(name: str) -> bool:
    return _is_package(name) or _folder_of(name).with_suffix(".py").is_file()


def _importing_file() -> str:
    """The file whose code the import machinery, or this module, is working for."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen importlib") and "/importlib/" not in file:
            return file
        frame = frame.f_back
    return "an unknown file"
