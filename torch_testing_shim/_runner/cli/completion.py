"""Completion of the command line in the user's shell, by argcomplete where that is installed.

The shell runs `run_test.py` with the line so far in its environment; the answer goes to a descriptor that argcomplete
knows, and the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from torch_testing_shim._shared.settings import asked_to_complete

from ..plan.tree import Tree
from ..usage_error import UsageError
from .parser import make_parser

#: The options whose values name test files, by their fields.
NAMES_FILES = ("names", "include", "exclude", "first", "last", "bring_to_front")


def answer_shell(find_tree: Callable[[], Tree]) -> None:
    """Answer the shell and end the process where it asks for completions; else return.

    Args:
        find_tree: finds the tree whose names are completed, or raises `UsageError`.

    Raises:
        SystemExit: the answer has been given.
    """
    if not asked_to_complete():
        return
    try:
        import argcomplete
    except ImportError:
        raise SystemExit(1) from None  # which tells the shell to complete as it likes
    parser = make_parser()

    def complete_names(prefix: str, **others: object) -> list[str]:
        try:
            return matching_names(prefix, find_tree(), os.getcwd())
        except UsageError:
            return []

    for action in parser._actions:
        if action.dest in NAMES_FILES:
            action.completer = complete_names  # type: ignore[attr-defined]  # where argcomplete looks for it
        elif action.dest == "jobs":
            action.completer = lambda **others: ["auto"]  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)
    raise SystemExit(1)


def matching_names(prefix: str, tree: Tree, working_folder: str) -> list[str]:
    """The names of test files that begin with `prefix`, or where none does, their paths that do."""
    paths = (f"{os.path.relpath(tree.tests, working_folder)}/{name}.py" for name in tree.names)
    return [name for name in tree.names if name.startswith(prefix)] or [
        path for path in paths if path.startswith(prefix)
    ]
