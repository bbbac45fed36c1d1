"""The error that wrong usage ends in: every part of the runner raises it, `main` prints it and exits with 2."""

__all__ = ["UsageError"]


class UsageError(ValueError):
    """The user asked for what cannot be done; the message says so in one sentence (one line per problem)."""
