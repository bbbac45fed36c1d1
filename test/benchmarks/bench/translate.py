"""The source of a case, re-based on a contender's harness.

A case is one test file, written for torch_testing_shim. Every contender runs the same classes and bodies: only the
imports of harness names change, and each test ends by leaving a sentinel. The translation works on the syntax tree
and gives plain source, so what a contender ran can be read.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

_SHIM = "torch_testing_shim"


def rebase(source: str, homes: Mapping[str, str]) -> str:
    """Return `source` with the harness names imported from elsewhere, and nothing else changed.

    Args:
        source: a test file that imports its harness from torch_testing_shim.
        homes: as in `translate`.
    """
    return ast.unparse(_Rebase(homes).visit(ast.parse(source))) + "\n"


def translate(source: str, homes: Mapping[str, str], preload: tuple[str, ...] = ()) -> str:
    """Return `source` with the harness names imported from elsewhere and a sentinel at the end of every test.

    Args:
        source: a test file that imports its harness from torch_testing_shim.
        homes: for each harness name, the module to import it from; names that are not in it stay where they are.
        preload: modules to import besides, first of all.
    """
    tree = _LeaveSentinels().visit(_Rebase(homes).visit(ast.parse(source)))
    imports = ast.parse("\n".join(["from bench import sentinel", *(f"import {module}" for module in preload)])).body
    position = _after_future(tree)
    tree.body[position:position] = imports
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _after_future(tree: ast.Module) -> int:
    """Where the first statement may stand: behind the docstring and `from __future__` imports."""
    for index, node in enumerate(tree.body):
        is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_future and not is_docstring:
            return index
    return len(tree.body)


class _Rebase(ast.NodeTransformer):
    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = homes

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | list[ast.ImportFrom]:
        module = node.module or ""
        if module.split(".")[0] != _SHIM:
            return node
        return [ast.ImportFrom(self._homes.get(alias.name, module), [alias], 0) for alias in node.names]


class _LeaveSentinels(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        if node.name.startswith("test_"):
            node.body.extend(ast.parse("sentinel.leave(self)").body)
        return node
