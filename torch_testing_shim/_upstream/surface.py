"""Which names of `torch.testing._internal` files import, and which of them this package lacks. Runs none of the files.

The files are read as syntax; the package's own modules are imported, to ask them.
"""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch_testing_shim._upstream.redirect import UPSTREAM, shim_module_of

__all__ = ["SurfaceError", "imported_names", "surface_report"]


class SurfaceError(ValueError):
    """A file cannot be read; the message is one sentence."""


def surface_report(paths: Iterable[str]) -> str:
    """A line for each name that the files import: how many files do, the name, and "missing" where it is.

    Args:
        paths: test files, and folders, whose Python files are all read.

    Raises:
        SurfaceError: a file cannot be read, or is not Python.
    """
    files = [file for path in paths for file in _files(Path(path))]
    counts = Counter(name for file in files for name in set(_names_in(file)))
    missing = {name for name in counts if not _is_there(name)}
    rows = sorted(counts.items(), key=lambda row: (row[0] not in missing, -row[1], row[0]))
    lines = [f"{count:5}  {'missing' if name in missing else '       '}  {name}" for name, count in rows]
    return "\n".join([*lines, f"{len(files)} files, {len(counts)} names, {len(missing)} missing"])


def imported_names(source: str) -> Iterator[str]:
    """The full names that `source` takes from `torch.testing._internal`: by `from ... import`, and as attributes of
    modules that it imports whole. A module of which no attribute is used counts itself.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = ast.parse(source)
    modules: dict[str, str] = {}  # what it is called in the file -> the module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_upstreams(node.module or ""):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if shim_module_of(name) is not None and alias.name != "*":
                    modules[alias.asname or alias.name] = name
                else:
                    yield name
        elif isinstance(node, ast.Import):
            modules.update({a.asname or a.name: a.name for a in node.names if _is_upstreams(a.name)})
    texts = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    for called, module in modules.items():
        used = {text[len(called) + 1 :].partition(".")[0] for text in texts if text.startswith(f"{called}.")}
        yield from [f"{module}.{name}" for name in used] or [module]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    return [path]


def _names_in(file: Path) -> list[str]:
    try:
        return list(imported_names(file.read_text()))
    except OSError as error:
        raise SurfaceError(f"cannot read {str(file)!r}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise SurfaceError(f"cannot read {str(file)!r} as Python: {error}") from None


def _is_upstreams(module: str) -> bool:
    return module == UPSTREAM or module.startswith(f"{UPSTREAM}.")


def _is_there(name: str) -> bool:
    if shim_module_of(name) is not None:
        return True
    module, _, attribute = name.rpartition(".")
    shim = shim_module_of(module)
    if shim is None:
        return False
    return attribute == "*" or hasattr(importlib.import_module(shim), attribute)
