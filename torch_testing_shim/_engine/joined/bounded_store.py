"""A client of the launcher's store whose calls end in time, also where the store's machine is cut off.

A call of torch's own client waits for as long as TCP does, which may be a quarter of an hour. Here a thread calls it.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, TypeVar

from torch._C._distributed_c10d import Store

from torch_testing_shim._shared.launch import Launch

_Found = TypeVar("_Found")
#: How long a call, or a connection, may take while processes still connect, in seconds. torch's server of the store
#: does one thing after another, and looks up the name of each client: each query that a name server loses takes 5 s.
CALM_SECONDS = 120.0
#: How long a call may take where a deadline is near, and where it is far, in seconds: some round trips over a slow and
#: lossy link, and two queries that the name server has lost.
_LEAST_SECONDS, _MOST_SECONDS = 3.0, 12.0
#: A call's time is counted in parts of this length, in seconds. Where 64 ranks began on two cores, one did not run for
#: so long that an answer which had come was taken for none; a part that ends late counts as one all the same.
_PART_SECONDS = 0.5


class StoreLostError(RuntimeError):
    """The store does not answer; the message says why, where that is known."""

    def sentence(self, launch: Launch) -> str:
        """Return a sentence for people who have started the launch."""
        return f"the launcher's store at {launch.address}:{launch.port} cannot be reached: {self}"


def seconds_for_call(left: float) -> float:
    """Return how long a call may take, in seconds, where this many are left to the deadline."""
    return min(max(left, _LEAST_SECONDS), _MOST_SECONDS)


class _Connection:
    """A connection and the thread that calls by it, one call after another in the order in which they were made: calls
    by threads of their own would wait for torch's lock, which may pass over one of them for many seconds."""

    def __init__(self, connect: Callable[[], Store], patience: Callable[[], float]) -> None:
        self.lost_at = math.inf
        self._connect, self._patience = connect, patience
        self._orders: queue.SimpleQueue[tuple[Callable[[Store], Any], queue.SimpleQueue[Any]] | None]
        self._orders = queue.SimpleQueue()
        threading.Thread(target=self._answer, name="torch_testing_shim store", daemon=True).start()

    def ask(self, call: Callable[[Store], Any], seconds: float | None) -> Any:
        if self.lost_at < math.inf:
            raise StoreLostError("the store was lost before")
        if seconds is None:
            seconds = self._patience()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._orders.put((call, answer))
        try:
            found = _wait_for(answer, seconds)
        except queue.Empty:
            self.lost_at = min(self.lost_at, time.monotonic())
            raise StoreLostError(f"the store did not answer within {seconds:.0f} s") from None
        if isinstance(found, Exception):
            self.lost_at = min(self.lost_at, time.monotonic())
            raise StoreLostError(str(found).partition("\n")[0]) from None
        return found

    def close(self) -> None:
        self.lost_at = min(self.lost_at, time.monotonic())
        self._orders.put(None)

    def _answer(self) -> None:  # the name by which stacks leave a thread out (`stacks.OWN_THREAD`)
        store: Store | None = None
        while True:
            order = self._orders.get()
            if order is None:
                return
            call, answer = order
            try:
                store = store or self._connect()
                answer.put(call(store))
            except Exception as error:
                answer.put(error)


def _wait_for(answer: queue.SimpleQueue[Any], seconds: float) -> Any:
    """Return the answer; raise `queue.Empty` where it does not come in time."""
    parts = math.ceil(seconds / _PART_SECONDS)
    for _ in range(parts):
        with suppress(queue.Empty):
            return answer.get(timeout=seconds / parts)
    raise queue.Empty


class StoreKeys:
    """The keys of a store below a prefix, in the thread that its connection belongs to."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def set(self, key: str, value: str) -> None:
        self._store.set(self._prefix + key, value)

    def has(self, *names: str) -> bool:
        """Whether the store has all these keys."""
        return bool(self._store.check(self._full(names)))

    def get(self, names: Sequence[str]) -> list[str]:
        """Return the values of keys that the store has."""
        return [value.decode() for value in self._store.multi_get(self._full(names))]

    def add(self, key: str) -> int:
        """Count, and return how often this was called for the key."""
        return int(self._store.add(self._prefix + key, 1))

    def settle(self, key: str, value: str) -> str:
        """Return the first value that anybody has settled for the key."""
        return str(self._store.compare_set(self._prefix + key, "", value).decode())

    def _full(self, names: Sequence[str]) -> list[str]:
        return [self._prefix + name for name in names]


class BoundedStore:
    """A client of a store. Once a call has failed, all fail: the connection is not in a known state any more.

    Args:
        connect: makes the connection.
        patience: says how long a call may take that is made now, in seconds.
    """

    def __init__(self, connect: Callable[[], Store], patience: Callable[[], float] = lambda: CALM_SECONDS) -> None:
        self._connection = _Connection(connect, patience)
        self._prefix = ""

    def below(self, prefix: str) -> BoundedStore:
        """Return a client of the keys below a prefix, by the same connection: what loses one, loses both."""
        part = copy(self)
        part._prefix = f"{self._prefix}{prefix}/"
        return part

    @property
    def lost_at(self) -> float:
        """When a call has failed, on the monotonic clock; infinite as long as none has."""
        return self._connection.lost_at

    @property
    def is_lost(self) -> bool:
        return self.lost_at < math.inf

    def set(self, key: str, value: str) -> None:
        self.call(lambda keys: keys.set(key, value))

    def has(self, *names: str) -> bool:
        """Whether the store has all these keys."""
        return self.call(lambda keys: keys.has(*names))

    def get(self, names: Sequence[str]) -> list[str]:
        """Return the values of keys that the store has."""
        return self.call(lambda keys: keys.get(names))

    def add(self, key: str) -> int:
        """Count, and return how often this was called for the key."""
        return self.call(lambda keys: keys.add(key))

    def settle(self, key: str, value: str) -> str:
        """Return the first value that anybody has settled for the key."""
        return self.call(lambda keys: keys.settle(key, value))

    def call(self, steps: Callable[[StoreKeys], _Found]) -> _Found:
        """Call `steps` with the keys of this part, and return its result: several calls of the store, of which nobody
        else's comes in between, for the time of one. Raise as `ask`."""
        found: _Found = self.ask(lambda store: steps(StoreKeys(store, self._prefix)))
        return found

    def ask(self, call: Callable[[Store], Any], seconds: float | None = None) -> Any:
        """Call `call` with the store, whatever part this is a client of, and return its result.

        Args:
            seconds: how long it may take; by default, what `patience` says.

        Raises:
            StoreLostError: it failed, did not return in time, or an earlier call did.
        """
        return self._connection.ask(call, seconds)

    def close(self) -> None:
        """Let go of the store once no call of it is left."""
        self._connection.close()
