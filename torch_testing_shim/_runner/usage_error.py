"""The error of wrong usage: every part of the runner raises it, `main` prints it and exits with 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """The user asked for something that cannot be done; the message is one sentence for each problem, one a line."""


def why(error: OSError) -> str:
    """The reason of an error in the system's words; "Not a directory" where a file lies in the way of a new folder."""
    return "Not a directory" if isinstance(error, FileExistsError) else error.strerror or str(error)


@contextmanager
def refusal(what: str) -> Iterator[None]:
    """An `OSError` in the body, or text that is not UTF-8, becomes a `UsageError`: "cannot WHAT: the reason"."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot {what}: {why(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot {what}: it is no text") from error


@contextmanager
def extra_for(what: str) -> Iterator[None]:
    """A library that the body imports and that is missing becomes a `UsageError`: "WHAT NAME: pip install ..."."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} {error.name}: pip install 'torch-testing-shim[runner]'") from error
