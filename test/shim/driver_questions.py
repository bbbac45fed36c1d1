"""Questions for `test_engine_driver.py`, which a new interpreter can import."""

import os


def count_calls(path):
    """A question whose callers can be told."""
    with open(path, "a") as calls:
        calls.write(f"{os.getpid()}\n")
    return "answer"


def raises():
    raise OSError("no light")


def dies():
    os._exit(3)
