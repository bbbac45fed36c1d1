"""The facts that the schedule needs of a test file before it runs, read off its source without importing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: An import of torch, or of a module of this package that imports torch: those without an underscore.
TORCH_IMPORT = re.compile(rb"^\s*(import|from)\s+(torch\b|torch_testing_shim\.[a-z])", re.MULTILINE)
#: The ranks of a test that does not write their number down: what the harness starts by default.
DEFAULT_RANKS = 4
#: The name by which tests tell the number of their ranks.
WORLD_SIZE = "world_size"


@dataclass(frozen=True)
class FileFacts:
    """Facts of one file."""

    imports_torch: bool = False  # it imports torch itself
    ranks: int = 1  # the ranks of its largest test


def read_facts(path: Path) -> FileFacts:
    """Read a file's source. A file that cannot be read has the facts of an empty one: its process will report it."""
    try:
        source = path.read_bytes()
    except OSError:
        return FileFacts()
    return FileFacts(imports_torch(source), ranks_in_source(source))


def imports_torch(source: bytes) -> bool:
    """True for a test file that imports torch itself, as far as its source tells."""
    return TORCH_IMPORT.search(source) is not None


def ranks_in_source(source: bytes) -> int:
    """The ranks of a file's largest test, as far as its source tells: 1 for a file without ranks.

    A number that is assigned to or returned from a `world_size` counts; where none is written, the harness's default.
    """
    if WORLD_SIZE.encode() not in source and b"DTensorTestBase" not in source and b"MultiProc" not in source:
        return 1
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return 1
    constants = dict(_constants(tree))
    numbers = [number for value in _world_sizes(tree) if (number := _number(value, constants)) is not None]
    return max(1, *numbers) if numbers else DEFAULT_RANKS


def _constants(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The whole numbers that have names at the top of the module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and (number := _number(node.value, {})) is not None:
            yield from ((target.id, number) for target in node.targets if isinstance(target, ast.Name))


def _world_sizes(tree: ast.Module) -> Iterator[ast.expr]:
    """The values that are assigned to, or returned from, anything called `world_size`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == WORLD_SIZE:
            yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None)
        value = getattr(node, "value", None)
        if isinstance(value, ast.expr) and WORLD_SIZE in _targets(node):
            yield value


def _targets(node: ast.AST) -> list[str]:
    """The names that a node gives its value to."""
    if isinstance(node, ast.keyword):
        return [node.arg or ""]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [_name(target) for target in targets]


def _name(node: ast.expr) -> str:
    return str(getattr(node, "id", "") or getattr(node, "attr", ""))


def _number(node: ast.expr, constants: dict[str, int]) -> int | None:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return constants.get(_name(node))
