"""Checks what torch's decorators drop: what the test returns that they call.

    @wraps(test)                                @wraps(test)
    def instantiated(self):             ->      def instantiated(self):
        test(self, **arguments)                     checked_test(test)(self, **arguments)

Otherwise nobody would see that a parametrized test is a coroutine, so that its body never runs. Pure: syntax trees in
and out.
"""

from __future__ import annotations

import ast

_CHECK = """__import__("torch_testing_shim._engine.unrun_body", None, None, ["__name__"]).checked_test"""


def check_results(tree: ast.AST) -> None:
    """Changes each function in the tree that `wraps` another: where it calls that one and drops the result, the result
    is checked."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            wrapped = {name for decorator in node.decorator_list if (name := _wrapped_by(decorator)) is not None}
            for inner in ast.walk(node) if wrapped else ():
                if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
                    _check_call(inner.value, wrapped)


def _wrapped_by(decorator: ast.expr) -> str | None:
    """The name in `wraps(name)`; None where the decorator is another."""
    match decorator:
        case ast.Call(func=ast.Name("wraps") | ast.Attribute(attr="wraps"), args=[ast.Name(name), *_]):
            return name
    return None


def _check_call(call: ast.Call, wrapped: set[str]) -> None:
    if isinstance(call.func, ast.Name) and call.func.id in wrapped:
        check = ast.parse(_CHECK, mode="eval").body
        call.func = ast.copy_location(ast.Call(check, [call.func], []), call.func)
