"""Finds modules whose body asks whether it runs in a rank. Each rank then has to run the body itself, as upstream's do.

Forked ranks have the module as the test process ran it. The question is read off the source; one in another form is not
seen.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
import tokenize
from collections.abc import Iterator

#: Functions of multiprocessing whose answer is another one in a child.
_ASKED = ("current_process", "parent_process")
#: Matches the source of every module that asks, so that most need not be parsed.
_MAY_ASK = re.compile(rf"{'|'.join(_ASKED)}|__mp_main__|__name__\s*!=|!=\s*__name__|^else:", re.M)
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def module_question(module: str) -> str | None:
    """Say in a clause what the loaded test module of this name, or an imported one in the same folder, asks; None
    where none asks."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    own = _absolute(file)
    files = {_absolute(each) for one in list(sys.modules.values()) if (each := getattr(one, "__file__", None))}
    beside = {each for each in files if each.endswith(".py") and os.path.dirname(each) == os.path.dirname(own)}
    for each in [own, *sorted(beside - {own})]:
        if (asked := _question_in_file(each)) is not None:
            return f"{os.path.basename(each)} asks while it is imported whether it is in a rank: {asked}"
    return None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError:  # the test has removed the working folder
        return path


@functools.cache
def _question_in_file(path: str) -> str | None:
    try:
        with tokenize.open(path) as stream:
            source = stream.read()
        return question_in(source) if _MAY_ASK.search(source) else None
    except (OSError, SyntaxError, ValueError):  # pytest and others load files that are not Python
        return None


def question_in(source: str) -> str | None:
    """Return the expression by which a module's body, or a function that it calls, asks; None where there is none.
    Raise SyntaxError where the source is not Python."""
    body = ast.parse(source).body
    functions = {node.name: node for node in body if isinstance(node, _Function)}
    imported = {alias.asname or alias.name for node in body for alias in _of_multiprocessing(node)}
    todo: list[ast.AST] = [*body]
    while todo:
        for node in _run_on_import(todo.pop()):
            if _asks(node, imported):
                return ast.unparse(node.test if isinstance(node, ast.If) else node)
            if isinstance(node, ast.Name) and node.id in functions:
                todo += functions.pop(node.id).body
    return None


def _of_multiprocessing(node: ast.stmt) -> list[ast.alias]:
    is_from = isinstance(node, ast.ImportFrom) and str(node.module).endswith("multiprocessing")
    return [alias for alias in node.names if alias.name in _ASKED] if is_from else []  # type: ignore[attr-defined]


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the node and those in it, without bodies of functions, and without code that only the test process
    runs."""
    yield node
    if isinstance(node, (*_Function, ast.Lambda)):
        return
    children = node.orelse if isinstance(node, ast.If) and _is_main(node.test) else ast.iter_child_nodes(node)
    for child in children:
        yield from _run_on_import(child)


def _asks(node: ast.AST, imported: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in _ASKED
    if isinstance(node, ast.Name):
        return node.id in imported
    if isinstance(node, ast.Constant):
        return node.value == "__mp_main__"
    if isinstance(node, ast.If):
        return _is_main(node.test) and bool(node.orelse)
    return isinstance(node, ast.Compare) and _compares_main(node) and not isinstance(node.ops[0], ast.Eq)


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and _compares_main(test) and isinstance(test.ops[0], ast.Eq)


def _compares_main(node: ast.Compare) -> bool:
    """Whether the node compares a module's name with the main module's."""
    sides = [node.left, *node.comparators]
    names = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return names and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
