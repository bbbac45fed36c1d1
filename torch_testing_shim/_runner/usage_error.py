"""The error of wrong usage: every part of the runner raises it, `main` prints it and exits with 2."""

from __future__ import annotations


class UsageError(ValueError):
    """The user asked for something that cannot be done; the message is one sentence for each problem, one a line."""


def why(error: OSError) -> str:
    """The reason of an error in the system's words; "Not a directory" where a file lies in the way of a new folder."""
    return "Not a directory" if isinstance(error, FileExistsError) else error.strerror or str(error)
