"""Tells modules of libraries, which are the same for every test, from those of tests: test files and their helpers."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import types
import unittest.mock
from pathlib import Path
from typing import Any

import torch

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: Folders of modules that are the same for every test, and so stay imported.
_LIBRARIES = tuple(
    os.path.join(folder, "")
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        str(Path(torch.__file__).parents[1]),
        str(Path(__file__).parents[1]),
    }
)


def is_of_library(module: Any) -> bool:
    """Return whether a module is Python's, an installed package's or this package's, and no test file or helper of
    one. Other objects in `sys.modules` are libraries', unless they are mocks."""
    if not issubclass(type(module), types.ModuleType):
        return not issubclass(type(module), unittest.mock.NonCallableMock)
    own = vars(module)  # torch.classes has an answer for any attribute
    spec = own.get("__spec__")
    file = own.get("__file__") or getattr(spec, "origin", None)
    if isinstance(file, str) and os.path.isabs(file):
        return file.startswith(_LIBRARIES)
    folders = list(own.get("__path__") or ())
    if folders and isinstance(folders[0], str):
        return folders[0].startswith(_LIBRARIES)
    # Modules without a file: built in, or made by a library, as torch.ops and six.moves are.
    parent = str(own.get("__name__", "")).rpartition(".")[0]
    return spec is not None or file is not None or (parent in sys.modules and is_of_library(sys.modules[parent]))
