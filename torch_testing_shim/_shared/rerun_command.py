"""The line that a failure ends with: the command that runs exactly this test again."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import sys
from collections.abc import Iterator, Sequence

from torch_testing_shim._shared.python_command import interpreter_arguments, pytest_arguments
from torch_testing_shim._shared.settings import Settings, as_variables

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: The line above the command.
RERUN_HEADING = "To run this test again:"


def repro_command(test_class: type, method_name: str, settings: Settings, *, is_pytests: bool = False) -> str | None:
    """The command that runs one method of a test class again, as `rerun_line` gives it; None also where no command
    can."""
    if "<locals>" in test_class.__qualname__:
        return None
    try:
        path = os.path.abspath(inspect.getfile(test_class))
    except (OSError, TypeError):
        return None
    return rerun_line(path, [*test_class.__qualname__.split("."), method_name], settings, is_pytests=is_pytests)


def rerun_line(path: str, names: Sequence[str], settings: Settings, *, is_pytests: bool) -> str | None:
    """The command that runs one test of the file at `path` again, by pytest where the test `is_pytests`, with the same
    settings; None where the user wants none. The path is relative where the file lies below the working folder."""
    if not settings.print_repro:
        return None
    inside = _relative(path)
    shown = path if inside.startswith(os.pardir) else inside
    if is_pytests:
        arguments = ["python", *pytest_arguments(settings), "::".join([shown, *names])]
    else:
        arguments = ["python", *interpreter_arguments(path, settings), shown, ".".join(names)]
    return " ".join([*settings_as_assignments(settings), *map(shlex.quote, arguments)])


def _relative(path: str) -> str:
    """The path from the working folder; as it is where the test has removed that folder."""
    with contextlib.suppress(OSError):
        return os.path.relpath(path)
    return path


@contextlib.contextmanager
def repro_on_failure(command: str | None) -> Iterator[None]:
    """Add to an exception that leaves the body how to run the test again."""
    from unittest import SkipTest  # here, since the runner's --list is quick without unittest

    try:
        yield
    except SkipTest:
        raise
    except Exception as error:
        if command is not None:
            _append(error, f"{RERUN_HEADING}\n    {command}")
        raise


def settings_as_assignments(settings: Settings) -> Iterator[str]:
    """The settings that may change an outcome, as a shell assigns them: "NAME=value"."""
    for name, value in as_variables(settings, only_repeated=True).items():
        yield f"{name}={shlex.quote(value)}"


def _append(error: Exception, note: str) -> None:
    if sys.version_info >= (3, 11):
        error.add_note(f"\n{note}")
    elif error.args:  # Python 3.10 has no notes: the message is all that a report shows
        error.args = (f"{error.args[0]}\n\n{note}", *error.args[1:])
