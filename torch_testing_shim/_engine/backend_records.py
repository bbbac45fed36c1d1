"""Records by which packages that bring a device describe it to the harness.

They are found by entry points at the first question about a device, once in each process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The entry points that name packages' records.
ENTRY_POINT_GROUP = "torch_testing_shim.backends"
#: A function that is called in a rank with its number and the number of ranks.
_RankHook = Callable[[int, int], object]


@dataclass(frozen=True)
class Backend:
    """A record of the facts about a device type that torch does not know. Everything but the type is optional.

    Attributes:
        device_type: its name in `torch.device`.
        pg_backend: the process-group backend of tests on it, as `init_process_group` takes it. None for the one that is
            registered with torch for the device (`torch.distributed.Backend.register_backend(..., devices=[...])`);
            where both are there, this one is used.
        fork_safe: False spawns ranks always, for a device whose state in a process does not survive a fork, not even
            before it is used. True forks ranks even where the device has been initialized in the test process. None,
            which fits most devices, forks ranks until the device has been initialized.
        capabilities: what the device can do (see `torch_testing_shim.backends`).
        before_rank: called as `before_rank(rank, world_size)` in each rank's process, before its test and its process
            group; `torch_testing_shim.backends.rank_device(rank)` returns the rank's device. An exception of it is the
            rank's error, and the rank's test does not begin.
        after_rank: called likewise after the test with its cleanups and its process group, also where the test failed
            or skipped, but not in a rank that dies or is ended by force. An exception of it is the error of a rank
            whose test has not failed; after a failure it is printed to the rank's output.
    """

    device_type: str
    pg_backend: str | None = None
    fork_safe: bool | None = None
    capabilities: frozenset[str] = frozenset()
    before_rank: _RankHook | None = None
    after_rank: _RankHook | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            TypeError: an attribute is of another type.
        """
        named = isinstance(self.capabilities, frozenset) and all(isinstance(name, str) for name in self.capabilities)
        are_right = {
            "device_type": isinstance(self.device_type, str) and bool(self.device_type),
            "pg_backend": self.pg_backend is None or isinstance(self.pg_backend, str),
            "fork_safe": self.fork_safe is None or isinstance(self.fork_safe, bool),
            "capabilities": named,
            "before_rank": self.before_rank is None or callable(self.before_rank),
            "after_rank": self.after_rank is None or callable(self.after_rank),
        }
        for name, is_right in are_right.items():
            if not is_right:
                raise TypeError(f"{name} of a Backend cannot be {getattr(self, name)!r}")


@dataclass(frozen=True)
class FoundBackend:
    """A record, and the distribution that brings it ("torch-npu 2.7"), for messages."""

    record: Backend
    source: str


def backend_record(device_type: str) -> FoundBackend | None:
    """Return the record of an installed package about a device type; None where there is none. Errors are those of
    `load_records`, for a record of any device."""
    return installed_records().get(device_type)


@functools.cache
def installed_records() -> Mapping[str, FoundBackend]:
    """Return the records of installed packages, by device type. Errors are those of `load_records`."""
    return load_records(entry_points(group=ENTRY_POINT_GROUP))


def load_records(points: Iterable[EntryPoint]) -> Mapping[str, FoundBackend]:
    """Load the records of entry points, by device type.

    Raises:
        DeviceError: a record cannot be loaded or is not a `Backend`, or a device has two records.
    """
    found: dict[str, FoundBackend] = {}
    for point in points:
        one = _load(point)
        other = found.setdefault(one.record.device_type, one)
        if other is not one:
            sources = f"both {other.source} and {one.source} have"
            if other.source == one.source:
                sources = f"{one.source} has two times"
            raise DeviceError(f"{sources} a backend record for device {one.record.device_type!r}")
    return found


def _load(point: EntryPoint) -> FoundBackend:
    source = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
    which = f"the backend record {point.name!r} of {source}"
    try:
        record = point.load()
    except Exception as error:
        raise DeviceError(f"{which} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(record, Backend):
        raise DeviceError(f"{which} is no torch_testing_shim.backends.Backend but {record!r}")
    return FoundBackend(record, source)


class DeviceError(ValueError):
    """The device that was asked for cannot be used; the message is one sentence."""


class BackendHookError(RuntimeError):
    """A hook of a backend record raised; the message names the hook, the device and the package."""
