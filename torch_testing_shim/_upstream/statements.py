"""Splits a module of torch's harness into statements: the names that each binds, changes and uses, and its compiled
code.

A graft of one name runs the statements that it needs, in their order, and no others. Their code is rewritten (see
`rewriting`). Pure: source in, statements out.
"""

from __future__ import annotations
import __future__

import ast
import marshal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from torch_testing_shim._upstream.rewriting import Rewriting, check_results


@dataclass(frozen=True)
class Statement:
    """One statement of a module's body. An import of several names counts as several statements.

    Attributes:
        binds: names to which it gives a value.
        changes: names whose value it changes in place, as `table.update(...)` does.
        uses: names of the module that it, or a function in it, looks up.
        code: its compiled code, marshalled.
    """

    binds: tuple[str, ...]
    changes: tuple[str, ...]
    uses: tuple[str, ...]
    code: bytes


def whole_code(source: str, path: str, package: str = "") -> CodeType:
    """Compiles the whole module, rewritten.

    Args:
        source: the module's source.
        path: the path that tracebacks show.
        package: the module's package where relative imports keep it; "" where this package takes its place.

    Raises:
        SyntaxError: the source is not Python.
    """
    tree = Rewriting(package).visit(ast.parse(source, path))
    check_results(tree)
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def read_statements(source: str, path: str) -> list[Statement]:
    """Reads the statements of a module, rewritten. `path` is the path that tracebacks show.

    Raises:
        SyntaxError: the source is not Python.
    """
    tree = ast.parse(source, path)
    has_late_annotations = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and _imports(node, "annotations")
        for node in tree.body
    )
    flags = __future__.annotations.compiler_flag if has_late_annotations else 0
    rewriting = Rewriting()
    check_results(tree)
    nodes = [rewriting.visit(part) for node in tree.body for part in _parts(node)]
    imported = {name for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for name in _names(node).binds}
    statements = []
    for node in nodes:
        names = _names(node)
        module = ast.fix_missing_locations(ast.Module([node], []))
        code = compile(module, path, "exec", flags=flags, dont_inherit=True)
        changes = set(_changed(node)) - names.binds - imported
        binds, changed, uses = (tuple(sorted(each)) for each in (names.binds, changes, names.uses))
        statements.append(Statement(binds, changed, uses, marshal.dumps(code)))
    return statements


def _imports(node: ast.ImportFrom, name: str) -> bool:
    return any(alias.name == name for alias in node.names)


def _parts(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yields the node; for an import, one node for each name; nothing for docstrings and `__future__` imports."""
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


@dataclass
class _Names:
    """The names that a scope binds, declares global and looks up."""

    binds: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)


def _names(node: ast.AST) -> _Names:
    reader = _NameReader()
    reader.visit(node)
    reader.names.uses -= {"__name__", "__file__"}
    return reader.names


class _NameReader(ast.NodeVisitor):
    """Reads the names of one scope. A function's local names are left out; a class's names are not."""

    def __init__(self) -> None:
        self.names = _Names()

    def visit_Name(self, node: ast.Name) -> None:
        (self.names.uses if isinstance(node.ctx, ast.Load) else self.names.binds).add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self.names.binds.add(node.asname or node.name.partition(".")[0])

    def visit_Global(self, node: ast.Global) -> None:
        self.names.declared.update(node.names)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            self.names.uses.add(node.target.id)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names.binds.add(node.name)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.binds.add(node.name)
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self.names.uses |= self._inner(node.body).uses

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.names.binds.add(node.name)
        self._visit_all([*node.decorator_list, *([node.returns] if node.returns else [])])
        self._visit_function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node.args, [node.body])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner = self._inner([*values, *node.generators])
        self.names.uses |= inner.uses - inner.binds

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def _visit_function(self, arguments: ast.arguments, body: list[Any]) -> None:
        own = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        own += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        self._visit_all([*arguments.defaults, *filter(None, arguments.kw_defaults)])
        self._visit_all([each.annotation for each in own if each.annotation is not None])
        inner = self._inner(body)
        locals_ = ({each.arg for each in own} | inner.binds) - inner.declared
        self.names.uses |= (inner.uses | inner.declared) - locals_

    def _inner(self, nodes: list[Any]) -> _Names:
        reader = _NameReader()
        reader._visit_all(nodes)
        return reader.names

    def _visit_all(self, nodes: list[Any]) -> None:
        for node in nodes:
            self.visit(node)


def _changed(node: ast.AST) -> Iterator[str]:
    """Yields names whose value a statement changes in place, or passes to a call whose result it drops."""
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
