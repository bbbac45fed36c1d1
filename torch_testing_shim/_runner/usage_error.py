"""The error that wrong usage ends in: every part of the runner raises it, `main` prints it and exits with 2."""

from __future__ import annotations


class UsageError(ValueError):
    """The user asked for what cannot be done; the message says so in one sentence (one line per problem)."""


def why(error: OSError) -> str:
    """The reason of an error in the system's words, with a better word where a file stands in a new folder's place."""
    return "Not a directory" if isinstance(error, FileExistsError) else error.strerror or str(error)
