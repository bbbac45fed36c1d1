"""The commands of GitHub Actions, written into the log: their escapes, and where in its file a test failed. Pure.

A command is a line `::name key=value,...::text`. Whatever a test prints could be one, so nothing of a test is printed
but between `::stop-commands::TOKEN` and `::TOKEN::`, with a token that nobody can guess.
"""

from __future__ import annotations

import re

from ..result import Failure

__all__ = ["command", "failed_line", "failure_annotation", "without_commands"]

#: What a text of a command cannot hold as it is, and what a value of one cannot hold besides.
TEXT_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
VALUE_ESCAPES = {**TEXT_ESCAPES, ":": "%3A", ",": "%2C"}
#: What GitHub shows of an annotation.
ANNOTATION_CHARACTERS = 4000

TRACEBACK_HEAD = re.compile(r"Traceback \(most recent call last\)|\(most recent call first\)")
PYTHON_FRAME = re.compile(r'File "(?P<path>[^"\n]+)", line (?P<line>\d+)')
PYTEST_FRAME = re.compile(r"^(?P<path>[^\s:]+\.py):(?P<line>\d+): ", re.MULTILINE)


def command(name: str, text: str = "", **values: str | int | None) -> str:
    """One line, without its end. Values that are None or "" are left out."""
    said = [f"{key}={_escaped(str(value), VALUE_ESCAPES)}" for key, value in values.items() if value not in (None, "")]
    return f"::{name}{' ' if said else ''}{','.join(said)}::{_escaped(text, TEXT_ESCAPES)}"


def without_commands(lines: str, token: str) -> str:
    """Lines in which nothing is a command, whatever they hold; they end in a line break."""
    return f"{command('stop-commands', token)}\n{lines}\n::{token}::\n"


def failure_annotation(failure: Failure, path: str, *, level: str = "error") -> str:
    """The command that shows a failure beside the code.

    Args:
        failure: what failed.
        path: where its test file lies, below the repository's root.
        level: "error", "warning" or "notice".
    """
    line = failed_line(failure.detail, failure.file)
    text = f"{failure.label}: {failure.reason}"[:ANNOTATION_CHARACTERS]
    return command(level, text, file=path, line=line, title=failure.where)


def failed_line(detail: str, file: str) -> int | None:
    """The line of the test file at which a test failed: the innermost one of the first traceback that has one.

    Args:
        detail: the report of the failure.
        file: the test file's name, as `discovery` gives it.
    """
    heads = [*TRACEBACK_HEAD.finditer(detail)]
    starts = [head.start() for head in heads] or [0]
    for number, start in enumerate(starts):
        block = detail[start : starts[number + 1] if number + 1 < len(starts) else None]
        lines = [int(found["line"]) for found in PYTHON_FRAME.finditer(block) if _is_file(found["path"], file)]
        if lines:
            is_innermost_first = bool(heads) and "first" in heads[number].group()
            return lines[0] if is_innermost_first else lines[-1]
    lines = [int(found["line"]) for found in PYTEST_FRAME.finditer(detail) if _is_file(found["path"], file)]
    return lines[-1] if lines else None


def _is_file(path: str, file: str) -> bool:
    """Whether a path of a traceback, absolute or relative to some folder, is that of a test file."""
    own = f"/{file}.py"
    shown = f"/{path.replace(chr(92), '/').removeprefix('./').removeprefix('/')}"
    return shown.endswith(own) or own.endswith(shown)


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
