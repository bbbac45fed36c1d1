"""Has a process that a test starts take signals as usual, though the suite itself may run under nohup."""

import signal


def take_usual_signals() -> None:
    """Stop ignoring the signals that stop a run; called in the child, before it becomes the command."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
