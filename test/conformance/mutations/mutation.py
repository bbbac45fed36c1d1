"""The mutations of a module's source, one change each. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_MARKS = ("__all__", "__test__", "__unittest")


@dataclass(frozen=True)
class Mutation:
    """One change of a source."""

    module: str  # the module's dotted name below the package
    function: str  # the name of the function or class that the change lies in; "" at the top of the module
    line: int  # number of the line, from 1
    #: What is replaced, in characters from the start of the source.
    start: int
    end: int
    #: The text there, and what takes its place.
    before: str
    after: str
    statement: str  # the line, stripped

    @property
    def key(self) -> str:
        """The same for the same change of the same statement, wherever the statement has moved in its function."""
        return f"{self.module.rpartition('.')[2]}.{self.function}: {self.statement}: {self.before} -> {self.after}"

    def apply(self, source: str) -> str:
        """The source with the change."""
        return f"{source[: self.start]}{self.after}{source[self.end :]}"

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: {self.statement}: {self.before} -> {self.after}"


def mutations_of(module: str, source: str) -> list[Mutation]:
    """All mutations of a module, in the order of its lines. Docstrings, annotations, f-strings, `__all__`, `__test__`
    and `__unittest` are left alone."""
    return sorted(_Reader(module, source).read(), key=lambda mutation: (mutation.start, mutation.after))


class _Reader:
    def __init__(self, module: str, source: str) -> None:
        self._module, self._source = module, source
        lines = source.splitlines(keepends=True)
        self._lines = lines
        self._offsets = [0]
        for line in lines:
            self._offsets.append(self._offsets[-1] + len(line))

    def read(self) -> Iterator[Mutation]:
        yield from self._visit(ast.parse(self._source), "")

    def _visit(self, node: ast.AST, function: str) -> Iterator[Mutation]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
        yield from self._changes(node, function)
        for child in _children(node):
            yield from self._visit(child, function)

    def _changes(self, node: ast.AST, function: str) -> Iterator[Mutation]:
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            text, other = _COMPARISONS[type(node.ops[0])]
            yield from self._operator(self._end(node.left), self._start(node.comparators[0]), text, other, function)
        elif isinstance(node, ast.BoolOp):
            text, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            left, right = node.values[0], node.values[1]
            yield from self._operator(self._end(left), self._start(right), text, other, function)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            operand = self._source[self._start(node.operand) : self._end(node.operand)]
            yield self._mutation(self._start(node), self._end(node), f"bool({operand})", function)
        elif isinstance(node, ast.Constant):
            yield from self._constant(node, function)
        elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            yield self._mutation(self._start(node.value), self._end(node.value), "None", function)

    def _constant(self, node: ast.Constant, function: str) -> Iterator[Mutation]:
        value = node.value
        if isinstance(value, bool):
            others = [not value]
        elif isinstance(value, int | float):
            others = [value + 1]
        else:
            others = []
        for other in others:
            yield self._mutation(self._start(node), self._end(node), repr(other), function)

    def _operator(self, start: int, end: int, text: str, other: str, function: str) -> Iterator[Mutation]:
        place = self._source[start:end].find(text)
        if place >= 0:
            yield self._mutation(start + place, start + place + len(text), other, function)

    def _mutation(self, start: int, end: int, after: str, function: str) -> Mutation:
        line = sum(offset <= start for offset in self._offsets)
        before = self._source[start:end]
        return Mutation(self._module, function, line, start, end, before.strip(), after, self._lines[line - 1].strip())

    def _start(self, node: ast.expr) -> int:
        return self._place(node.lineno, node.col_offset)

    def _end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._place(node.end_lineno, node.end_col_offset)

    def _place(self, line: int, column: int) -> int:
        """`ast` counts columns in bytes."""
        return self._offsets[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that may be mutated."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or _is_mark(node):
            continue
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            is_docstring = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
            if isinstance(part, ast.AST) and not is_docstring and not isinstance(part, ast.JoinedStr):
                yield part


def _is_mark(node: ast.AST) -> bool:
    """True for what other programs read: names for `import *`, marks for unittest and pytest."""
    return isinstance(node, ast.Assign) and any(ast.unparse(target) in _MARKS for target in node.targets)
