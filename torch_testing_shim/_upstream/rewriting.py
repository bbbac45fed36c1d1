"""Rewrites the code of torch's harness to run on this package. Pure: syntax trees in and out.

* Imports of `torch.testing._internal`, and of the test cases that `torch._dynamo` builds on it, import this package.
* Questions to a device's driver go where it may start (see `driver_questions`).
* A decorator that drops the result of the test that it calls checks the result. Otherwise nobody would see that a
  parametrized test is a coroutine, so that its body never runs:

    @wraps(test)                                @wraps(test)
    def instantiated(self):             ->      def instantiated(self):
        test(self, **arguments)                     checked_test(test)(self, **arguments)
"""

from __future__ import annotations

import ast

from torch_testing_shim._upstream.driver_questions import rewritten
from torch_testing_shim._upstream.modules import DYNAMO_CASES, SERVED_DYNAMO_CASES, source_file

#: The package that is served.
UPSTREAM = "torch.testing._internal"
#: The package that serves it.
SHIM = __package__.partition(".")[0]
_CHECK = """__import__("torch_testing_shim._engine.unrun_body", None, None, ["__name__"]).checked_test"""


class Rewriting(ast.NodeTransformer):
    """`torch.testing._internal`, in imports and as an expression, becomes this package."""

    def __init__(self, package: str = "") -> None:
        self._package = package

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 1 and self._package:
            node.module, node.level = f"{self._package}.{node.module or ''}".rstrip("."), 0
        if node.level == 0 and node.module is not None:
            node.module = _renamed(node.module)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        names = []
        for alias in node.names:
            renamed = _renamed(alias.name)
            if renamed != alias.name and alias.asname is None:
                names.append(ast.alias("torch"))  # the name that the statement binds
            names.append(ast.alias(renamed, alias.asname))
        node.names = names
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.generic_visit(rewritten(node))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        text = ast.unparse(node)
        renamed = _renamed(text)
        if renamed == SHIM or (renamed != text and source_file(renamed[len(SHIM) + 1 :]) is not None):
            return ast.copy_location(_imported(renamed), node)
        return self.generic_visit(node)


def _imported(module: str) -> ast.expr:
    """Return an expression that imports the module where it is used: nothing else may have imported it."""
    return ast.parse(f"__import__({module!r}, None, None, ['__name__'])", mode="eval").body


def below_upstream(module: str) -> str | None:
    """Return the part of a module's name below `torch.testing._internal`, which has "" itself; None for others."""
    return module[len(UPSTREAM) :].lstrip(".") if f"{module}.".startswith(f"{UPSTREAM}.") else None


def _renamed(module: str) -> str:
    if module == DYNAMO_CASES:
        return f"{SHIM}.{SERVED_DYNAMO_CASES}"
    below = below_upstream(module)
    return module if below is None else f"{SHIM}.{below}".rstrip(".")


def check_results(tree: ast.AST) -> None:
    """Make each function in the tree that `wraps` another check the other's result where it drops it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            wrapped = {name for decorator in node.decorator_list if (name := _wrapped_by(decorator)) is not None}
            for inner in ast.walk(node) if wrapped else ():
                if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
                    _check_call(inner.value, wrapped)


def _wrapped_by(decorator: ast.expr) -> str | None:
    """Return the name in `wraps(name)`; None for another decorator."""
    match decorator:
        case ast.Call(func=ast.Name("wraps") | ast.Attribute(attr="wraps"), args=[ast.Name(name), *_]):
            return name
    return None


def _check_call(call: ast.Call, wrapped: set[str]) -> None:
    if isinstance(call.func, ast.Name) and call.func.id in wrapped:
        check = ast.parse(_CHECK, mode="eval").body
        call.func = ast.copy_location(ast.Call(check, [call.func], []), call.func)
