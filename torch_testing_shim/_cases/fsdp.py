"""Test cases of FSDP, and the device that they run on.

FSDP looks for an accelerator unless it gets the CPU as its device (torch 2.13), and torch's test models do not pass it.
"""

from __future__ import annotations

import contextlib
import importlib
import unittest
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any, cast
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import wrap as torchs_wrap
from torch.nn.parallel import DistributedDataParallel

from torch_testing_shim._cases.body import run_subtests
from torch_testing_shim._cases.continuous import MultiProcContinuousTest
from torch_testing_shim._cases.multi_process import MultiProcessTestCase
from torch_testing_shim._cases.threads.multi_threaded import MultiThreadedTestCase
from torch_testing_shim._cases.world import default_ranks, group_timeout, keep_connections
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend, rank_device
from torch_testing_shim._isolation.torch_state import reset_dynamo, set_rng_seed
from torch_testing_shim._skips.by_ranks import missing_backend, missing_device
from torch_testing_shim._skips.flags import FILE_SCHEMA
from torch_testing_shim._upstream.class_rest import TorchsRest, torchs_class
from torch_testing_shim._upstream.graft import assigned

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_FACE = "torch_testing_shim.common_fsdp"
#: Position of `ref_init_fn` among the arguments of `_test_fsdp_parity`.
_REF_INIT_FN = 4


def device_type() -> str:
    """Return the type of the device in use, as `torch.device` takes it."""
    return str(assigned(_FACE, "DEVICE_TYPE") or device_in_use().type)


def device_count() -> int:
    """Return the number of ranks of a test that does not set it: see `default_ranks`."""
    return int(assigned(_FACE, "DEVICE_COUNT") or default_ranks())


def distributed_backend() -> str:
    """Return the process-group backend, as `init_process_group` takes it."""
    return str(assigned(_FACE, "DISTRIBUTED_BACKEND") or process_group_backend(device_type()))


def reason_not_to_run(ranks: int) -> str | None:
    """Return why so many ranks cannot have their devices and their backend; None where they can.

    Raises:
        ValueError: torch does not know the backend.
    """
    return missing_device(device_type(), ranks) or missing_backend(distributed_backend(), ranks)


def _device_arguments(fsdp_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for FSDP: those given, and where there is no accelerator the CPU as the device."""
    is_cpu = torch.device(device_type()).type == "cpu"
    return {"device_id": torch.device("cpu"), **fsdp_kwargs} if is_cpu else fsdp_kwargs


class _ForDevice(type(FullyShardedDataParallel)):  # type: ignore[misc]  # its metaclass
    """Makes instances of torch's class; torch would not accept others as its own."""

    def __call__(cls, module: nn.Module, *args: Any, **kwargs: Any) -> FullyShardedDataParallel:
        return FullyShardedDataParallel(module, *args, **_device_arguments(kwargs))

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, FullyShardedDataParallel)


class FSDP(FullyShardedDataParallel, metaclass=_ForDevice):
    """torch's FSDP under the name that its test models use, told which device to use."""

    __module__ = _FACE


def wrap(module: nn.Module, **wrap_overrides: Any) -> nn.Module:
    """Call torch's `wrap`, which follows the context around it, for the device in use."""
    return torchs_wrap(module, **_device_arguments(wrap_overrides))


def get_devtype() -> torch.device:
    """Return the device in use, as a `torch.device` without an index (upstream's `get_devtype`, torch 2.13)."""
    return torch.device(device_type())


class DEVICEInitMode(Enum):
    """When a model moves to the device in use: before FSDP wraps it, after that, or never (upstream's `DEVICEInitMode`,
    torch 2.13; torch 2.4 called it `CUDAInitMode`, whose members are aliases)."""

    __module__ = _FACE

    DEVICE_BEFORE = 1
    DEVICE_AFTER = 2
    DEVICE_NEVER = 3
    CUDA_BEFORE = DEVICE_BEFORE
    CUDA_AFTER = DEVICE_AFTER
    CUDA_NEVER = DEVICE_NEVER


class FSDPTestMixin:
    """The shared part of FSDP's tests, however their ranks are started (upstream's `FSDPTestMixin`, torch 2.13)."""

    __module__ = _FACE
    rest_is_torchs = TorchsRest(older="FSDPTest")

    def run_subtests(self, *args: Any, **kwargs: Any) -> None:
        """Call `run_subtests` of `common_distributed` for this test case."""
        run_subtests(cast(unittest.TestCase, self), *args, **kwargs)

    def _train_for_several_steps(
        self, model: Any, num_steps: int, autocast: bool, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Call torch's, with a gradient scaler for the device in use. Torch's expects sums under autocast in float32,
        as accelerators give them; on the CPU they stay in the low precision."""
        kwargs["sharded_grad_scaler_kwargs"] = {
            "device": device_type(),
            **(kwargs.get("sharded_grad_scaler_kwargs") or {}),
        }
        train = torchs_class(FSDPTestMixin)["_train_for_several_steps"]
        loss_of = model.module.get_loss
        in_float32 = mock.patch.object(model.module, "get_loss", lambda *given: loss_of(*given).float())
        with in_float32 if autocast and device_type() == "cpu" else contextlib.nullcontext():
            loss: torch.Tensor = train(self, model, num_steps, autocast, *args, **kwargs)
        return loss

    def _test_fsdp_parity(self, *args: Any, **kwargs: Any) -> None:
        """Call torch's, taking `device_init_mode` also under its name of torch 2.4, `cuda_init_mode`. The reference, by
        default DDP, finds its device by its module: a rank's number need not be its device's index."""
        if "cuda_init_mode" in kwargs:
            kwargs["device_init_mode"] = kwargs.pop("cuda_init_mode")
        if len(args) < _REF_INIT_FN and kwargs.get("ref_init_fn") is None:
            kwargs["ref_init_fn"] = DistributedDataParallel
        torchs_class(FSDPTestMixin)["_test_fsdp_parity"](self, *args, **kwargs)


@FSDPTestMixin.rest_is_torchs.leaves_to
class FSDPTest(FSDPTestMixin, MultiProcessTestCase):
    """A multi-process test case for FSDP, with a process group in every rank (upstream's `FSDPTest`, torch 2.13)."""

    __module__ = _FACE

    @property
    def world_size(self) -> int:
        """The accelerators of the machine, or 4 ranks on the CPU."""
        return device_count()

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The default process group."""
        return dist.distributed_c10d._get_default_group()

    @property
    def init_method(self) -> str:
        """The place where the ranks meet, as `init_process_group` takes it."""
        return f"{FILE_SCHEMA}{self.file_name}"

    @property
    def destroy_pg_upon_exit(self) -> bool:
        return False  # `_run` does it, after a barrier

    def setUp(self) -> None:
        super().setUp()
        if (reason := reason_not_to_run(self.world_size)) is not None:
            raise unittest.SkipTest(reason)
        self._spawn_processes()

    @classmethod
    def _run(cls, rank: int, test_name: str, file_name: str, pipe: Connection, **kwargs: Any) -> None:  # type: ignore[override]
        self = cls(test_name)
        self.rank, self.file_name = rank, file_name
        self._init_process_group(bool(kwargs.get("fake_pg")))
        dist.barrier(device_ids=self._barrier_devices())
        reset_dynamo()
        set_rng_seed()
        self.run_test(test_name, pipe)
        reset_dynamo()
        dist.barrier(device_ids=self._barrier_devices())
        if rank_device(rank, device_type()).type == "cpu":  # an accelerator's group may have more to do at its end
            keep_connections()
        dist.destroy_process_group()

    def _init_process_group(self, is_fake: bool) -> None:
        place: dict[str, Any] = {"rank": self.rank, "world_size": int(self.world_size)}
        if is_fake:
            face = importlib.import_module("torch_testing_shim.distributed.fake_pg")  # it registers the backend
            dist.init_process_group("fake", store=face.FakeStore(), **place)
            return
        bind_rank(self.rank, device_type())
        backend = distributed_backend()
        dist.init_process_group(backend, init_method=self.init_method, timeout=group_timeout(self.id()), **place)

    def _barrier_devices(self) -> list[int] | None:
        own = rank_device(self.rank, device_type())
        return None if own.index is None else [own.index]


class FSDPTestContinuous(FSDPTestMixin, MultiProcContinuousTest):
    """Tests of FSDP that share their ranks, one class at a time (upstream's `FSDPTestContinuous`, torch 2.13)."""

    __module__ = _FACE

    @classmethod
    def backend_str(cls) -> str:
        return distributed_backend()

    @classmethod
    def device_type(cls) -> str:
        return device_type()

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The process group that the ranks keep."""
        return type(self).pg


class FSDPTestMultiThread(MultiThreadedTestCase):
    """Tests of FSDP whose ranks are threads (upstream's `FSDPTestMultiThread`, torch 2.13)."""

    __module__ = _FACE

    @property
    def world_size(self) -> int:
        """The accelerators of the machine, or 4 ranks on the CPU."""
        return device_count()

    def setUp(self) -> None:
        super().setUp()
        importlib.import_module("torch._dynamo")  # fully_shard imports it; threads that do so at once find it half made
        self._spawn_threads()

    @classmethod
    def _run(cls, test_name: str, rank: int, world_size: int, **kwargs: Any) -> None:
        bind_rank(rank, device_type())
        super()._run(test_name, rank, world_size, **kwargs)

    def run_subtests(self, *args: Any, **kwargs: Any) -> None:
        """Call `run_subtests` of `common_distributed` for this test case."""
        run_subtests(self, *args, **kwargs)

    def perThreadSetUp(self) -> None:
        reset_dynamo()

    def perThreadTearDown(self) -> None:
        reset_dynamo()
