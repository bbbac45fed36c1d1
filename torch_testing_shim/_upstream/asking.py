"""How code asks for a name of torch's harness that torch lacks: as one that it needs, or prepared for its absence.

Files support several versions of torch by `hasattr`, `getattr` with a default, or an import whose ImportError they
catch. They are told what they would be told upstream; only a name that is needed gets a stand-in (see `missing`).
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import os
import sys
from collections.abc import Iterator
from types import FrameType

_HERE = os.path.dirname(__file__)
_CATCHES_ALL = {"Exception", "BaseException"}


def asking_frame() -> FrameType | None:
    """The code that the import machinery, or this package's part of it, is working for."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if os.path.dirname(file) != _HERE and not file.startswith("<frozen importlib") and "/importlib/" not in file:
            return frame
        frame = frame.f_back
    return None


def is_prepared_for_absence() -> bool:
    """Whether the code that asks for a name does it by `hasattr` or the like, or where it catches the error."""
    frame = asking_frame()
    if frame is None:
        return False
    operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
    if "CALL" in operation:  # of a builtin: what is written in Python has a frame of its own
        return True
    error = "ImportError" if operation.startswith("IMPORT") else "AttributeError"
    guarded = _guarded_lines(frame.f_code.co_filename)
    return any(lines[0] <= frame.f_lineno <= lines[1] for caught, lines in guarded if caught in {error, *_CATCHES_ALL})


@functools.cache
def _guarded_lines(path: str) -> list[tuple[str, tuple[int, int]]]:
    """Names of exceptions that a file catches, and first and last line of where it does."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:  # no file
        return []
    return [(name, lines) for node in ast.walk(tree) for name, lines in _caught_by(node)]


def _caught_by(node: ast.AST) -> Iterator[tuple[str, tuple[int, int]]]:
    if isinstance(node, ast.Try):
        types = [handler.type for handler in node.handlers]
        names = [name for each in types for name in (_names(each) if each is not None else ["BaseException"])]
    elif isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        suppressing = [call for call in calls if "suppress" in _names(call.func)]
        names = [name for call in suppressing for each in call.args for name in _names(each)]
    else:
        return
    lines = node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno
    yield from ((name, lines) for name in names)


def _names(node: ast.expr) -> list[str]:
    """The last parts of the names in an expression: of `module.Error`, of `(Error, Other)`."""
    if isinstance(node, ast.Tuple):
        return [name for each in node.elts for name in _names(each)]
    return [node.attr] if isinstance(node, ast.Attribute) else [node.id] if isinstance(node, ast.Name) else []
