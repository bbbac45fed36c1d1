"""Streams and events of the device. There is nothing to wait for: every operator has ended when it returns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


class Event:
    """A point in a stream, which the device has passed."""

    def record(self, stream: Stream | None = None) -> None:
        pass

    def wait(self, stream: Stream | None = None) -> None:
        pass

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class Stream:
    """Operators one after the other."""

    def __init__(self, device: object = None, priority: int = 0) -> None:
        pass

    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()

    def wait_event(self, event: Event) -> None:
        pass

    def wait_stream(self, stream: Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass


_ONLY = Stream()


def current_stream(device: object = None) -> Stream:
    return _ONLY


def stream(chosen: Stream | None) -> AbstractContextManager[None]:
    """Make the context in which a stream is the current one: none has an effect."""
    return nullcontext()
