# Owner(s): ["oncall: distributed"]
"""Asynchronous saves in a process of their own (`AsyncCheckpointerType.PROCESS`), beside each rank.

    rank 0 --state--> its process ==gloo==.
                                          +--> checkpoint
    rank 1 --state--> its process ==gloo==^

Such a process imports torch, which takes seconds, so one pair of them serves a whole test. Each test ends with its
processes gone.
"""

import contextlib
import errno
import multiprocessing
import os
import signal
import time
import unittest
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from exact_values import about, assert_same_bits, exact_values
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.tensor import Shard, distribute_tensor

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

try:
    from torch.distributed.checkpoint import _async_process_executor
except ImportError:
    _async_process_executor = None

needs_executor = unittest.skipUnless(_async_process_executor, "this torch saves in no process of its own")
needs_prefix_store = unittest.skipUnless(
    "use_prefix_store"
    in getattr(getattr(_async_process_executor, "_ProcessGroupInitInfo", None), "__annotations__", {}),
    "this torch always finds a port for the processes itself",
)

#: Seconds until a future must be done. A process starts within 3 s on an idle machine, and a save takes 0.1 s.
PATIENCE = 120

#: The rank whose process `StrickenWriter` strikes.
STRICKEN = 1


class StrickenWriter(dcp.FileSystemWriter):
    """A writer that calls `strike` in the process of one rank, where that would write its data."""

    def __init__(self, path, strike):
        super().__init__(path)
        self.strike = strike

    def write_data(self, plan, planner):
        if dist.get_rank() == STRICKEN:
            self.strike()
        return super().write_data(plan, planner)


class PatientPlanner(dcp.DefaultSavePlanner):
    """A planner that plans nothing before a file is there."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def create_local_plan(self):
        while not self.path.exists():
            time.sleep(0.01)
        return super().create_local_plan()


def disk_is_full():
    raise OSError(errno.ENOSPC, "disk full")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def start_save(state, **where):
    return dcp.async_save(state, async_checkpointer_type=state_dict_saver.AsyncCheckpointerType.PROCESS, **where)


def whole(name):
    return exact_values(name, (5, 3))


@needs_executor
class AsyncProcessTest(DTensorTestBase):
    world_size = 2

    @property
    def backend(self):
        return f"cpu:gloo,{self.device_type}:{dist.get_default_backend_for_device(self.device_type)}"

    def _state(self, name):
        weight = distribute_tensor(whole(name).to(self.device_type), self.build_device_mesh(), [Shard(0)])
        return {"weight": weight, f"of rank {self.rank}": {"name": name}}

    def _save(self, name, **where):
        return start_save(self._state(name), **where).result(PATIENCE)

    def _assert_holds(self, folder, name):
        """Load the whole checkpoint in each rank by itself."""
        state = {"weight": torch.zeros(5, 3), **{f"of rank {rank}": {"name": ""} for rank in range(self.world_size)}}
        dcp.load(state, checkpoint_id=folder, no_dist=True)
        assert_same_bits(self, f"weight of {name}", state["weight"], whole(name))
        for rank in range(self.world_size):
            self.assertEqual(state[f"of rank {rank}"], {"name": name}, about(f"name of rank {rank}"))

    def _only_child(self):
        children = multiprocessing.active_children()
        self.assertEqual(1, len(children), about(f"number of {children}"))
        return children[0]

    @with_comms
    @with_temp_dir
    def test_one_process_saves_until_it_dies(self):
        folder = Path(self.temp_dir)
        state = self._state("first")
        with mock.patch.dict(os.environ, {"MASTER_ADDR": "localhost"}):  # this machine's name may have no address
            changed = folder / f"changed by {self.rank}"
            future = start_save(state, checkpoint_id=folder / "first", planner=PatientPlanner(changed))
        state["weight"].to_local().zero_()  # training goes on, and what was to be saved must not change
        changed.touch()  # nothing is written before, however long this process has waited for a core
        result = future.result(PATIENCE)
        with agreed_between_ranks():
            self.assertIsInstance(result, Metadata)
            self._assert_holds(folder / "first", "first")
            process = self._only_child()

        for name, target in (("second", "second"), ("third", "first")):  # into a new folder, and over the first
            self._save(name, checkpoint_id=folder / target)
            with agreed_between_ranks():
                self._assert_holds(folder / target, name)

        self._check_failures_are_told(folder)
        self._save("fourth", checkpoint_id=folder / "fourth")
        with agreed_between_ranks():
            self._assert_holds(folder / "fourth", "fourth")
            self.assertIs(process, self._only_child())
        self._check_death_is_told(folder, process)

    def _check_failures_are_told(self, folder):
        (folder / "a file").touch()
        failure = start_save(self._state("x"), checkpoint_id=folder / "a file").exception(PATIENCE)
        with agreed_between_ranks():
            self._assert_failed(failure, FileExistsError, [0, 1])
        writer = StrickenWriter(folder / "full", disk_is_full)
        failure = start_save(self._state("x"), storage_writer=writer).exception(PATIENCE)
        with agreed_between_ranks():
            self._assert_failed(failure, OSError, [STRICKEN])
            self.assertIn("disk full", str(failure))
            self._assert_does_not_load(folder / "full")

    def _assert_failed(self, failure, kind, ranks):
        self.assertIsInstance(failure, CheckpointException)
        self.assertEqual(ranks, sorted(failure.failures))
        for error, _ in failure.failures.values():
            self.assertIsInstance(error, kind)

    def _assert_does_not_load(self, folder):
        with self.assertRaises(CheckpointException):
            dcp.load({"weight": torch.zeros(5, 3)}, checkpoint_id=folder, no_dist=True)

    def _check_death_is_told(self, folder, process):
        writer = StrickenWriter(folder / "dead", die)
        failure = start_save(self._state("x"), storage_writer=writer).exception(PATIENCE)
        with agreed_between_ranks():
            # The pipe or gloo's connection breaks, or the exit status is seen first.
            self.assertIsInstance(failure, RuntimeError | OSError)
            self._assert_does_not_load(folder / "dead")
            if self.rank == STRICKEN:
                process.join(PATIENCE)
                self.assertEqual(-signal.SIGKILL, process.exitcode)
        failure = start_save(self._state("x"), checkpoint_id=folder / "later").exception(PATIENCE)
        with agreed_between_ranks():
            self.assertIsInstance(failure, RuntimeError | OSError)
            self._assert_does_not_load(folder / "later")
        if self.rank != STRICKEN:
            process.kill()  # the failures' tracebacks keep torch from letting it go
            process.join(PATIENCE)

    @needs_prefix_store
    @with_comms
    @with_temp_dir
    def test_the_processes_meet_in_a_store_that_is_there_and_end_when_let_go(self):
        store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False) if self.rank == 0 else None
        with self._prefix_store_at("localhost", store.port if store else 0):
            self._save("only", checkpoint_id=self.temp_dir)
        process = self._only_child()
        with agreed_between_ranks():
            self._assert_holds(self.temp_dir, "only")
            if store:
                self.assertGreater(store.num_keys(), 1, "the processes have not met in the store")
        _async_process_executor._CHECKPOINT_PROCESS = None  # as when a rank ends; torch has no public function for it
        process.join(PATIENCE)
        with agreed_between_ranks():
            # Torch ends a process that takes longer than 5 s, which it may on a loaded machine.
            self.assertIn(process.exitcode, (0, -signal.SIGTERM))

    @needs_prefix_store
    @with_comms
    @with_temp_dir
    def test_a_store_without_an_address_is_refused(self):
        with self._prefix_store_at(None, None), self.assertRaises(CheckpointException) as caught:
            start_save(self._state("x"), checkpoint_id=self.temp_dir)
        with agreed_between_ranks():
            self.assertIn("MASTER_ADDR", str(caught.exception))
            self.assertEqual([], multiprocessing.active_children())

    @contextlib.contextmanager
    def _prefix_store_at(self, address, port):
        found = {
            name: str(value) for name, value in (("MASTER_ADDR", address), ("MASTER_PORT", port)) if value is not None
        }
        with mock.patch.dict(os.environ, {"DCP_USE_PREFIX_STORE": "1"}):
            for name in ("MASTER_ADDR", "MASTER_PORT"):
                os.environ.pop(name, None)
            os.environ.update(found)
            yield


@needs_executor
class WithoutGroupTest(TestCase):
    def test_a_process_group_is_needed(self):
        with self.assertRaisesRegex(ValueError, "process group has not been initialized"):
            start_save({"weight": torch.ones(2)}, checkpoint_id="unused")
        self.assertEqual([], multiprocessing.active_children())


if __name__ == "__main__":
    run_tests()
