"""Ports, and trying again where somebody else was faster."""

from __future__ import annotations

import functools
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

__all__ = ["ADDRESS_IN_USE", "CONNECT_TIMEOUT", "find_free_port", "retry_on_connect_failures"]

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# What c10d's errors contain where trying again can help.
ADDRESS_IN_USE = "Address already in use"
CONNECT_TIMEOUT = "connect() timed out."

ATTEMPTS = 10
#: The longest wait between two attempts, in seconds; it is drawn at random, so that two who collided part.
LONGEST_WAIT = 1.0

Function = TypeVar("Function", bound=Callable[..., Any])


def find_free_port() -> int:
    """A TCP port of localhost that nobody listens on now (upstream: `find_free_port`, torch 2.13).

    Somebody else may take it before it is used: a rendezvous file has no such race.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def retry_on_connect_failures(
    func: Function | None = None, connect_errors: str | Sequence[str] = ADDRESS_IN_USE
) -> Function | Callable[[Function], Function]:
    """Calls a function again, 10 times at most, while it raises a RuntimeError whose text contains one of
    `connect_errors`; used bare or with arguments (upstream: `retry_on_connect_failures`, torch 2.13).

    Raises:
        RuntimeError: the function's last one, or at once one with another text.
    """
    texts = (connect_errors,) if isinstance(connect_errors, str) else tuple(connect_errors)

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for _ in range(ATTEMPTS - 1):
                try:
                    return function(*args, **kwargs)
                except RuntimeError as error:
                    if not any(text in str(error) for text in texts):
                        raise
                time.sleep(random.uniform(0, LONGEST_WAIT))
            return function(*args, **kwargs)

        return cast(Function, wrapper)

    return decorate if func is None else decorate(func)
