"""Reports which names of `torch.testing._internal` files import, and whose each is here: ours, torch's, or nobody's.

The files and torch's harness are read as syntax and not run. The package's own modules are imported.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path

from torch_testing_shim._upstream.graft import bound_names, ours_in
from torch_testing_shim._upstream.modules import home_of
from torch_testing_shim._upstream.redirect import has_face, shim_module_of
from torch_testing_shim._upstream.rewriting import below_upstream


class SurfaceError(ValueError):
    """A file cannot be read; the message is one sentence."""


class Owner(Enum):
    """The owner of a name; the value is the word in a report."""

    ABSENT = "absent"  # the installed torch lacks it too
    OURS = "ours"
    TORCHS = "torch's"  # and grafted


def surface_report(paths: Iterable[str]) -> str:
    """Return a line for each name that the files import: how many files do, its owner, the name; absent ones first.

    Args:
        paths: test files, and folders, whose Python files are all read.

    Raises:
        SurfaceError: a file cannot be read, or is not Python.
    """
    files = [file for path in paths for file in _files(Path(path))]
    counts = Counter(name for file in files for name in set(_names_in(file)))
    owners = {name: owner_of(name) for name in counts}
    rows = sorted(counts.items(), key=lambda row: (owners[row[0]] is not Owner.ABSENT, -row[1], row[0]))
    lines = [f"{count:5}  {owners[name].value:7}  {name}" for name, count in rows]
    totals = Counter(owners.values())
    told = ", ".join(f"{totals[owner]} {owner.value}" for owner in (Owner.OURS, Owner.TORCHS, Owner.ABSENT))
    return "\n".join([*lines, f"{len(files)} files, {len(counts)} names: {told}"])


def owner_of(name: str) -> Owner:
    """Return the owner of a full name: of a module, or of a name in a module."""
    if shim_module_of(name) is not None:
        return Owner.OURS if has_face(name) else Owner.TORCHS
    module, _, attribute = name.rpartition(".")
    shim = shim_module_of(module)
    if shim is None:
        return Owner.ABSENT
    if has_face(module) and (attribute == "*" or attribute in ours_in(shim)):
        return Owner.OURS
    is_torchs = attribute == "*" or attribute in bound_names(shim) or home_of(attribute, besides="") is not None
    return Owner.TORCHS if is_torchs else Owner.ABSENT


def imported_names(source: str) -> Iterator[str]:
    """Yield the full names that `source` takes from `torch.testing._internal`: by `from ... import`, and as attributes
    of modules that it imports whole. A module counts itself where none of its attributes is used."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}  # name in the file -> module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and below_upstream(node.module or "") is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if shim_module_of(name) is not None and alias.name != "*":
                    modules[alias.asname or alias.name] = name
                else:
                    yield name
        elif isinstance(node, ast.Import):
            modules.update({a.asname or a.name: a.name for a in node.names if below_upstream(a.name) is not None})
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
