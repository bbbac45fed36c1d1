"""Tell from a test file's source whether it runs its tests itself or needs pytest. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

#: The package that `python -m` runs for files of PyTorch's.
PACKAGE = "torch_testing_shim"
#: The option by which it has pytest run them.
BY_PYTEST = "--pytest"

#: The function that the harness runs a file's tests by.
RUN_TESTS = "run_tests"
#: Functions that run a file's tests where the file calls them at its top: run_tests, unittest.main, pytest.main.
RUNNERS = frozenset({RUN_TESTS, "main", "console_main"})


@dataclass(frozen=True)
class MainPart:
    """The parts of a file that matter when it runs as a script."""

    uses_run_tests: bool = True  # it names `run_tests`
    runs_something: bool = True  # it asks for its `__name__`, or calls something at its top that runs tests
    has_tests: bool = False  # it defines functions or methods that are named as tests are
    has_functions_only: bool = False  # these are functions, which unittest does not know
    is_in_package: bool = False  # it has relative imports, so that it cannot be run as a script

    @property
    def is_for_harness(self) -> bool:
        """The harness's own `run_tests` runs its tests."""
        return self.uses_run_tests and not self.is_in_package and not self.has_functions_only

    @property
    def runs_nothing(self) -> bool:
        """It has tests, and as a script runs none of them."""
        return self.has_tests and (self.is_in_package or not (self.uses_run_tests or self.runs_something))


def read_main_part(source: bytes) -> MainPart:
    """Read a file's source; of one that is not Python there is nothing to say but by running it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return MainPart()
    functions = [node for node in tree.body if _is_test(node)]
    return MainPart(
        uses_run_tests=any(_names_run_tests(node) for node in ast.walk(tree)),
        runs_something=any(_runs_something(node) for node in tree.body),
        has_tests=any(_is_test(node) for node in ast.walk(tree)),
        has_functions_only=bool(functions) and not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        is_in_package=any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in _at_import(tree)),
    )


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def _names_run_tests(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):  # under another name
        return any(alias.name == RUN_TESTS and alias.asname for alias in node.names)
    return RUN_TESTS in (getattr(node, "id", None), getattr(node, "attr", None))


def _runs_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return is_call and any(_called(part) in RUNNERS for part in ast.walk(node))


def _called(node: ast.AST) -> str:
    """The last name of what is called; "" where nothing is."""
    function = node.func if isinstance(node, ast.Call) else None
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


def _at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements at the file's top, and those that stand there in a `try`."""
    for node in tree.body:
        yield node
        yield from node.body if isinstance(node, ast.Try) else ()
