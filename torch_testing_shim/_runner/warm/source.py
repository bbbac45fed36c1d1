"""A test file's source, read for a warm run: its imports, and whether it can run warm. Pure, but for `conftest.py`.

The file is not imported: its imports from torch and from this package are read off its syntax tree, and the interpreter
imports them ahead, once for all files that want them. A file that changes the environment before it imports torch needs
torch to be imported afterwards, so it cannot run warm.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._engine.preload import names_in_code

#: The packages that are imported ahead.
AHEAD = ("torch", "torch_testing_shim")
#: Names by which a file changes the state that an import of torch reads.
PREPARES = frozenset({"environ", "environb", "putenv", "unsetenv", "setrlimit", "sched_setaffinity"})


@dataclass(frozen=True)
class FileSource:
    """The part of a file's source that matters to a warm run."""

    #: Modules to import ahead, in the file's order; names imported from a module come as "module.name", whether or not
    #: they are modules themselves.
    imports: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()  # the global and attribute names that its code uses
    prepares_imports: bool = False  # it changes the environment or the process before its last import from torch


def read_source(text: bytes) -> FileSource:
    """Read a file's source; a source that is not Python has no imports and names."""
    try:
        tree = ast.parse(text)
        names = names_in_code(compile(tree, "<test file>", "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError):
        return FileSource()
    ours = [position for position, node in enumerate(tree.body) if any(_imports(node))]
    before = tree.body[: ours[-1]] if ours else []
    return FileSource(
        imports=tuple(dict.fromkeys(name for node in tree.body for name in _imports(node))),
        names=frozenset(names),
        prepares_imports=any(_prepares(node) for node in before),
    )


def preparing_conftest(path: str) -> str | None:
    """The nearest `conftest.py` of a file that changes the environment or the process when pytest imports it, before
    the file; None where none does."""
    for folder in Path(path).parents:
        with suppress(OSError, SyntaxError, ValueError, RecursionError):
            conftest = folder / "conftest.py"
            if any(map(_prepares, ast.parse(conftest.read_bytes()).body)):
                return str(conftest)
    return None


def _imports(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_ahead(alias.name))
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ahead(node.module or ""):
        yield str(node.module)
        yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")


def _is_ahead(module: str) -> bool:
    return module.split(".")[0] in AHEAD


def _prepares(node: ast.stmt) -> bool:
    """True for a statement that runs at import and uses one of PREPARES; the bodies of functions run later."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(_name(one) in PREPARES for one in ast.walk(node))


def _name(node: ast.AST) -> str:
    """The name that a node uses, "" for one that uses none."""
    named = {ast.Attribute: "attr", ast.Name: "id", ast.alias: "name"}
    return str(getattr(node, named.get(type(node), ""), ""))
