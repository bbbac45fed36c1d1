"""Which classes test files hold, and whether they are made for each device type: read off their source. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["TestClasses", "read_classes"]

#: What makes the classes of a generic one; its first argument is that class.
MAKER = "instantiate_device_type_tests"


@dataclass(frozen=True)
class TestClasses:
    """The classes of one file.

    Attributes:
        names: all of them.
        generic: those that are made again for each device type: Class -> ClassCPU, ClassCUDA.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    names: frozenset[str] = frozenset()
    generic: frozenset[str] = frozenset()


def read_classes(source: str) -> TestClasses:
    """The classes in a file's source; none where it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return TestClasses()
    names = frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return TestClasses(names, frozenset(_generic(tree)))


def _generic(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == MAKER:
                yield node.args[0].id
