"""The device in use, its process-group backend, and which device is a rank's.

Device types and backends are asked of torch, never compared with a list of known names. Every base class binds its
ranks here: a file may touch only the accelerators that it was leased, so a rank's number is not its device's index.

Whatever asks for the device in use raises `DeviceError` where there is none: the device chosen by hand is unknown to
torch or missing, an index is missing, the driver cannot be asked, or an installed package's record cannot be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from torch_testing_shim._engine.backend_records import DeviceError as DeviceError, backend_record
from torch_testing_shim._engine.driver import DRIVER, accelerator_type, initialized_accelerator
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._shared.settings import Settings, read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class DeviceInUse:
    """The device that tests run on."""

    type: str  # as `torch.device` takes it: "cpu", or the accelerator's own name
    count: int  # of devices that may be used, on all hosts together; 0 for the CPU, whose ranks need none of their own
    chosen: bool = False  # by hand (TORCH_TESTING_SHIM_DEVICE)
    indices: tuple[int, ...] | None = None  # that may be used; None for the first ones
    may_be_shared: bool = False  # several ranks may use one device
    hosts: int = 1  # that ranks run on, with as many devices each

    @property
    def is_cpu(self) -> bool:
        return self.type == "cpu"

    def index_of(self, rank: int) -> int:
        """Return the index of a rank's accelerator; where there are fewer than ranks, several ranks share one."""
        return self.usable[rank % len(self.usable)]

    @property
    def usable(self) -> tuple[int, ...]:
        """The indices of the accelerators that may be used, on each host."""
        return tuple(range(self.count // self.hosts)) if self.indices is None else self.indices

    def has_room_for(self, ranks: int) -> bool:
        """Whether each of `ranks` ranks can have a device of its own or may share one; always true on the CPU."""
        return self.is_cpu or self.may_be_shared or self.count >= ranks

    def is_shared_by(self, ranks: int) -> bool:
        """Whether `ranks` ranks share devices."""
        return self.may_be_shared and self.count < ranks

    def shortage(self, ranks: int) -> str | None:
        """Say why `ranks` ranks have no room; None where they have."""
        return None if self.has_room_for(ranks) else f"needs at least {ranks} accelerators, found {self.count}"


def device_in_use(settings: Settings | None = None) -> DeviceInUse:
    """Return the device chosen by hand, or the accelerator that torch finds, or the CPU."""
    settings = settings or read_settings()
    chosen = settings.device
    accelerator = accelerator_type()
    if chosen is None:
        count = accelerator_count()
        return _limited(accelerator, count, settings) if accelerator and count else DeviceInUse("cpu", 0)
    try:
        device_type = torch.device(chosen).type
    except RuntimeError as error:
        known = str(error).partition("Expected one of ")[2].partition(" device type")[0]
        hint = f"; torch knows {known}" if known else ""
        raise DeviceError(f"unknown device {chosen!r}{hint}") from None
    if device_type == "cpu":
        return DeviceInUse("cpu", 0, chosen=True)
    count = accelerator_count() if device_type == accelerator else 0
    if not count:
        raise DeviceError(f"device {chosen!r} was asked for, but torch finds none here")
    return _limited(device_type, count, settings)


def _limited(device_type: str, count: int, settings: Settings) -> DeviceInUse:
    """Restricts the device to the accelerators that the settings allow, of `count`."""
    indices, chosen, is_shared = settings.device_indices, settings.device is not None, settings.share_devices
    hosts = 1 if JOINED.world is None else len(JOINED.world.hosts)
    if indices is None:
        return DeviceInUse(device_type, count * hosts, chosen, None, is_shared, hosts)
    missing = [index for index in indices if index >= count]
    if missing:
        raise DeviceError(f"{device_type} {missing[0]} was leased to this process, but torch finds {count} here")
    return DeviceInUse(device_type, len(indices) * hosts, chosen, indices, is_shared, hosts)


def accelerator_in_use() -> str | None:
    """Return the type of the accelerator that tests run on, or of its stand-in (--map-device); None without either."""
    device = device_in_use()
    return None if device.is_cpu and read_settings().device_map is None else device.type


def checked_device(settings: Settings) -> DeviceInUse:
    """Check that tests can run on the device in use, and return it."""
    device = device_in_use(settings)
    backend_record(device.type)
    return device


def process_group_backend(device_type: str) -> str:
    """Return the process-group backend of a device type: the one in its package's record, else the one that is
    registered with torch. Raise `DeviceError` where none is, or torch does not know the one in the record."""
    if (recorded := recorded_backend(device_type)) is not None:
        return recorded
    try:
        return dist.get_default_backend_for_device(device_type)
    except ValueError as error:
        raise DeviceError(f"no process-group backend is registered for device {device_type!r}") from error


def recorded_backend(device_type: str) -> str | None:
    """Return the process-group backend in the record of the device's package; None where it names none. Raises
    `DeviceError` where torch does not know it."""
    backend = backend_record(device_type)
    if backend is None or (name := backend.record.pg_backend) is None:
        return None
    if ":" not in name and not dist.is_backend_available(name):
        whose = f"the backend record for {device_type!r} ({backend.source})"
        raise DeviceError(f"{whose} names the process-group backend {name!r}, which torch does not know")
    return name


def declares(capability: str) -> bool:
    """Whether the record of the device in use names a capability."""
    backend = backend_record(device_in_use().type)
    return backend is not None and capability in backend.record.capabilities


def device_hazard() -> str | None:
    """Say why ranks that use the device in use must not be forked from any process; None where they may be."""
    device_type = device_in_use().type
    backend = backend_record(device_type)
    if backend is not None and backend.record.fork_safe is False:
        return f"{device_type} does not survive a fork, as {backend.source} says"
    return None


def fork_hazard() -> str | None:
    """Say why ranks that use the device in use must not be forked from this process; None where they may be."""
    hazard, accelerator = device_hazard(), initialized_accelerator()
    if hazard is not None or accelerator is None:
        return hazard
    backend = backend_record(accelerator)
    is_safe = backend is not None and backend.record.fork_safe is True
    return None if is_safe else f"{accelerator} has been initialized in the test process"


def accelerator_count() -> int:
    """Return the number of accelerators that torch finds."""
    return 0 if accelerator_type() is None else DRIVER.ask(torch.accelerator.device_count)


def rank_device(rank: int, device_type: str | None = None) -> torch.device:
    """Return the device of a rank's tensors: "cpu", or an accelerator with its index. Where there are fewer
    accelerators than ranks, several ranks have the same one.

    Args:
        rank: the rank.
        device_type: the type that the test names, with or without an index; by default the type of the device in use.
            `DeviceError` is raised for one that is not in use here.
    """
    device = device_in_use()
    wanted = device.type if device_type is None else torch.device(device_type).type  # --map-device may change it
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted != device.type:
        raise DeviceError(f"the test runs on {wanted!r}, which is not there: the device in use is {device.type!r}")
    return torch.device(wanted, device.index_of(rank))


def bind_rank(rank: int, device_type: str | None = None) -> torch.device:
    """Make a rank's accelerator the current one of this process or thread, and return the rank's device, as
    `rank_device` does."""
    device = rank_device(rank, device_type)
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
    elif (devices := read_settings().device_map) is not None:
        torch.accelerator.set_device_index(rank % devices.count)
    return device
