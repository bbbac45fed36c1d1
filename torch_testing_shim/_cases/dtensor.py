"""Test cases of DTensors, which tests of FSDP and checkpoints build on too, and `with_comms`."""

from __future__ import annotations

import functools
import threading
import unittest
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from torch_testing_shim._cases.body import run_subtests
from torch_testing_shim._cases.continuous import MultiProcContinuousTest
from torch_testing_shim._cases.hooks import has_own
from torch_testing_shim._cases.multi_process import MultiProcessTestCase
from torch_testing_shim._cases.threads.multi_threaded import MultiThreadedTestCase
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE, group_timeout, run_in_group
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._skips.by_ranks import (
    missing_backend,
    missing_device,
    skip_if_lt_x_gpu,
    skip_without_backend,
)
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._upstream.class_rest import TorchsRest
from torch_testing_shim._upstream.graft import assigned

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

TestFunction = Callable[..., Any]

_FACE = "torch_testing_shim.distributed._tensor.common_dtensor"


def device_type() -> str:
    """Return the type of the device in use; where that is an accelerator, what a test file has assigned to
    DEVICE_TYPE."""
    device = device_in_use()
    return device.type if device.is_cpu else str(assigned(_FACE, "DEVICE_TYPE") or device.type)


class DTensorTestMixin:
    """The shared part of tests of DTensors in processes (upstream's `DTensorTestMixin`, torch 2.13)."""

    __module__ = _FACE
    rest_is_torchs = TorchsRest(older="DTensorTestBase")
    world_size: Any
    rank: int

    @property
    def device_type(self) -> str:
        """The device that the test makes tensors on: "cpu", or the accelerator's type."""
        return device_type() if device_in_use().has_room_for(self.world_size) else "cpu"

    @property
    def is_local_tensor_enabled(self) -> bool:
        return False

    def build_device_mesh(self) -> DeviceMesh:
        """Make a one-dimensional mesh over all ranks."""
        return init_device_mesh(self.device_type, (self.world_size,))

    def init_manual_seed_for_rank(self) -> None:
        """Seed this rank's generator with its rank, so that ranks draw different numbers."""
        torch.manual_seed(self.rank)

    def run_subtests(self, *args: Any, **kwargs: Any) -> None:
        """Call `run_subtests` of `common_distributed` for this test case."""
        run_subtests(cast(unittest.TestCase, self), *args, **kwargs)


@DTensorTestMixin.rest_is_torchs.leaves_to
class DTensorTestBase(DTensorTestMixin, MultiProcessTestCase):
    """A multi-process test case with a process group for its device (upstream's `DTensorTestBase`, torch 2.13).

    It runs on accelerators where each rank can have one, and on the CPU elsewhere. `with_comms` sets the process group
    up around a test method.
    """

    __module__ = _FACE
    _groups_made = 0

    @property
    def world_size(self) -> int:
        """4, or fewer where there are 2 or 3 accelerators that ranks may not share. WORLD_SIZE overrides it, and so
        does a test file that assigns NUM_DEVICES."""
        if (chosen := read_settings().world_size) is not None:
            return chosen
        if (assigned_here := assigned(_FACE, "NUM_DEVICES")) is not None:
            return int(assigned_here)
        device = device_in_use()
        are_few = 1 < device.count < DEFAULT_WORLD_SIZE and not device.may_be_shared
        return device.count if are_few else DEFAULT_WORLD_SIZE

    @property
    def backend(self) -> str:
        """The process-group backend, as `init_process_group` takes it."""
        return process_group_backend(self.device_type)

    def setUp(self) -> None:
        super().setUp()
        self._spawn_processes()

    def init_pg(self, eager_init: bool = False, backend: str | None = None) -> None:
        """Set up the default process group of this rank.

        Args:
            eager_init: bind the group to the rank's accelerator at once, where there is one.
            backend: the backend, "gloo" or "cpu:gloo,cuda:nccl" for example; by default `self.backend`.

        Raises:
            unittest.SkipTest: the backend is not available here.
            ValueError: torch does not know the backend, or the string names two for one device.
        """
        backend = _without_repeats(backend or self.backend)
        skip_without_backend(backend, self.world_size)
        own = bind_rank(self.rank, self.device_type)
        dist.init_process_group(
            backend=backend,
            world_size=self.world_size,
            rank=self.rank,
            init_method=f"file://{self._next_rendezvous()}",
            timeout=group_timeout(self.id()),
            device_id=own if eager_init and own.index is not None else None,
        )

    def _next_rendezvous(self) -> str:
        """Return `self.file_name`, and for each further group of the test a new file: what the last group has left in
        its file would mislead the next."""
        number = self._groups_made
        self._groups_made += 1
        return f"{self.file_name}.{number}" if number else self.file_name

    def destroy_pg(self, device_id: int | None = None) -> None:
        """Wait for all ranks and destroy the process group.

        Args:
            device_id: index of the accelerator to wait on; by default the current one.
        """
        if torch.device(self.device_type).type == "cpu":  # or mapped to it
            dist.barrier()
        else:
            dist.barrier(device_ids=[torch.accelerator.current_device_index() if device_id is None else device_id])
        dist.destroy_process_group()


class DTensorContinuousTestBase(DTensorTestMixin, MultiProcContinuousTest):  # type: ignore[misc]  # as upstream's
    """A test case of DTensors whose tests share their ranks (upstream's `DTensorContinuousTestBase`, torch 2.13)."""

    __module__ = _FACE

    @classmethod
    def backend_str(cls) -> str:
        """Return the process-group backend of the device."""
        return process_group_backend(device_type())


class DTensorOpTestBase(MultiThreadedTestCase):
    """A test case of operators on DTensors, whose ranks are threads (upstream's `DTensorOpTestBase`, torch 2.13)."""

    __module__ = _FACE

    @property
    def world_size(self) -> int:
        """As many as `DTensorTestBase` has."""
        return DTensorTestBase().world_size

    @property
    def device_type(self) -> str:
        """The type of the device in use, or what a test file assigns to DEVICE_TYPE."""
        return device_type()

    def build_device_mesh(self) -> DeviceMesh:
        """Make a one-dimensional mesh over all ranks."""
        return init_device_mesh(self.device_type, (self.world_size,))

    def setUp(self) -> None:
        super().setUp()
        from torch.distributed.tensor._sharding_prop import ShardingPropagator  # takes half a second to import

        kept = getattr(ShardingPropagator, "_fake_mode_lock", None)
        if kept is not None:  # torch's own does not lock, since it expects one thread in each process
            ShardingPropagator._fake_mode_lock = threading.Lock()  # type: ignore[assignment]
            self.addCleanup(setattr, ShardingPropagator, "_fake_mode_lock", kept)
        self._spawn_threads()

    @classmethod
    def _run(cls, test_name: str, rank: int, world_size: int, **kwargs: Any) -> None:
        bind_rank(rank, device_type())
        super()._run(test_name, rank, world_size, **kwargs)


def skip_unless_torch_gpu(method: TestFunction) -> TestFunction:
    """Skip a test where there are not as many accelerators as `NUM_DEVICES` (upstream's name, torch 2.13)."""
    return skip_if_lt_x_gpu(DTensorTestBase().world_size)(method)


def with_comms(
    eager_init: TestFunction | bool = False, backend: str | None = None
) -> TestFunction | Callable[[TestFunction], TestFunction]:
    """Run a test method inside a process group (upstream's `with_comms`, torch 2.13).

    Used bare (`@with_comms`) or with arguments (`@with_comms(eager_init=True, backend="gloo")`), which go to the test
    case's `init_pg`. Where its backend is not available, the test is skipped before any rank starts. After a
    test that returns, `destroy_pg` is called; after one that raises, the process group is destroyed without waiting for
    the other ranks. A test case without `init_pg` is run as it is.
    """
    if callable(eager_init):
        return _with_comms(eager_init, False, None)
    return lambda test: _with_comms(test, eager_init, backend)


def _with_comms(test: TestFunction, eager_init: bool, backend: str | None) -> TestFunction:
    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(self, "init_pg"):
            return test(self, *args, **kwargs)
        self.init_pg(eager_init, backend)
        call = functools.partial(test, self, *args, **kwargs)
        return run_in_group(call, lambda: self.destroy_pg(), functools.partial(_is_on_cpu, self))

    return skip_where(functools.partial(_missing_backend, backend))(wrapper)


def _is_on_cpu(case: Any) -> bool:
    device_type = getattr(case, "device_type", None)
    return device_type is not None and torch.device(device_type).type == "cpu"  # or mapped to it


def _missing_backend(backend: str | None, case: Any) -> str | None:
    """Return why a test case cannot have its backend, or the decorator's, or its device. None where it can, for a class
    that names none, and for a backend that the class's own `init_pg` takes."""
    wanted, ranks = backend or getattr(case, "backend", None), getattr(case, "world_size", None)
    if not hasattr(case, "init_pg") or not isinstance(wanted, str) or ranks is None:
        return None
    device_type = getattr(case, "device_type", None)
    missing = None if has_own(case, "init_pg") else missing_backend(_without_repeats(wanted), ranks)
    return missing or (missing_device(device_type, ranks) if isinstance(device_type, str) else None)


def _without_repeats(backend: str) -> str:
    """Return a backend string with each device once. Torch refuses "cpu:gloo,cpu:gloo", which a test composes on the
    CPU as "cpu:gloo,<device>:<its backend>"."""
    if ":" not in backend:
        return backend
    parts: dict[str, str] = {}
    for part in backend.split(","):
        device, _, name = part.partition(":")
        if parts.setdefault(device, name) != name:
            raise ValueError(f"backend {backend!r} names two backends for {device}")
    return ",".join(f"{device}:{name}" for device, name in parts.items())
