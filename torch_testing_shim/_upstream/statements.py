"""Splits a module of torch's harness into statements: the names that each binds, changes and uses, and its compiled
code.

A graft of one name runs the statements that it needs, in their order, and no others. Their code is rewritten (see
`rewriting`). Pure: source in, statements out.
"""

from __future__ import annotations
import __future__

import ast
import dis
import itertools
import marshal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from torch_testing_shim._upstream.rewriting import Rewriting, check_results

_BINDING = frozenset({"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"})
#: In the body of a class too; where a function declares a name global, it uses what the module has bound.
_LOOKING_UP = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL", "DELETE_GLOBAL"})
_OF_EVERY_MODULE = frozenset({"__annotations__", "__file__", "__name__"})


@dataclass(frozen=True)
class Statement:
    """One statement of a module's body. An import of several names counts as several statements."""

    binds: tuple[str, ...]  # names to which it gives a value
    changes: tuple[str, ...]  # names whose value it changes in place, as `table.update(...)` does
    uses: tuple[str, ...]  # names of the module that it, or a function in it, looks up
    code: bytes  # its compiled code, marshalled


def whole_code(source: str, path: str, package: str = "") -> CodeType:
    """Compile the whole module, rewritten.

    Args:
        source: the module's source.
        path: the path that tracebacks show.
        package: the module's package where relative imports keep it; "" where this package takes its place.
    """
    tree = Rewriting(package).visit(ast.parse(source, path))
    check_results(tree)
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def read_statements(source: str, path: str) -> list[Statement]:
    """Read the statements of a module, rewritten. `path` is the path that tracebacks show."""
    tree = ast.parse(source, path)
    late = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    has_late_annotations = any(alias.name == "annotations" for node in late for alias in node.names)
    flags = __future__.annotations.compiler_flag if has_late_annotations else 0
    rewriting = Rewriting()
    check_results(tree)
    nodes = [rewriting.visit(part) for node in tree.body for part in _parts(node)]
    modules = [ast.fix_missing_locations(ast.Module([node], [])) for node in nodes]
    codes = [compile(module, path, "exec", flags=flags, dont_inherit=True) for module in modules]
    are_imports = [isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes]
    imported: set[str] = set().union(*(_bound(code) for code in itertools.compress(codes, are_imports)))
    statements = []
    for node, code in zip(nodes, codes, strict=True):
        changed = set(_changed(node)) - _bound(code) - imported
        binds, changes, uses = (tuple(sorted(names)) for names in (_bound(code), changed, _used(code)))
        statements.append(Statement(binds, changes, uses, marshal.dumps(code)))
    return statements


def _parts(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield the node; for an import, one node for each name; nothing for docstrings and `__future__` imports."""
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield ast.copy_location(ast.Import([alias]), node)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield ast.copy_location(ast.ImportFrom(node.module, [alias], node.level), node)
    else:
        yield node


def _bound(code: CodeType) -> set[str]:
    """Return the names that a module's code binds."""
    return _operands(code, _BINDING)


def _used(code: CodeType) -> set[str]:
    """Return the names of the module that its code looks up, also in functions and classes. The compiler has told them
    from local names."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return _operands(code, _LOOKING_UP).union(*map(_used, inner))


def _operands(code: CodeType, operations: frozenset[str]) -> set[str]:
    return {each.argval for each in dis.get_instructions(code) if each.opname in operations} - _OF_EVERY_MODULE


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield names whose value a statement changes in place, or pass to a call whose result it drops."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _roots([node.value.func] if isinstance(node.value.func, ast.Attribute) else [])
        yield from _roots(node.value.args)
    elif isinstance(node, (ast.Assign, ast.Delete)):
        yield from _roots(node.targets)
    elif isinstance(node, ast.AugAssign):
        yield from _roots([node.target])
    elif isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
        for each in ast.iter_child_nodes(node):
            if isinstance(each, (ast.stmt, ast.ExceptHandler)):
                yield from _changed(each)
    elif isinstance(node, ast.ExceptHandler):
        for each in node.body:
            yield from _changed(each)


def _roots(nodes: list[Any]) -> Iterator[str]:
    into: Callable[[Any], Any] = lambda node: node.value  # noqa: E731  # attribute, subscript and starred have it
    for node in nodes:
        while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
            node = into(node)
        if isinstance(node, ast.Name):
            yield node.id
