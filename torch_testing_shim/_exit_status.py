"""Exit codes in words, for the runner, for `run_tests` and for the engine. Standard library only."""

from __future__ import annotations

import signal

__all__ = ["describe_exit", "signal_name"]


def describe_exit(exit_code: int) -> str:
    """An exit code as `subprocess` gives it, in words: "exit status 3", "SIGKILL"."""
    return f"exit status {exit_code}" if exit_code >= 0 else signal_name(-exit_code)


def signal_name(number: int) -> str:
    """The name of a signal, "SIGKILL"; "signal 99" where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
