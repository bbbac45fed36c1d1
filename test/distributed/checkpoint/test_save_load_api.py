# Owner(s): ["oncall: distributed checkpointing"]
"""`save` and `load` of distributed checkpoints: where they go, who takes part, and which errors they give."""

import inspect
import os
import unittest
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import needs_argument, needs_staged_copies, needs_subgroups, without_log
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor, Shard

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

try:
    import fsspec
except ImportError:
    fsspec = None


def _state(start, device="cpu"):
    return {"weight": torch.arange(start, start + 4, device=device), "progress": {"step": start, "name": f"at {start}"}}


class Counter:
    """A stateful object, as training loops have them."""

    def __init__(self, count):
        self.count = count
        self.loads = 0

    def state_dict(self):
        return {"count": torch.tensor(self.count), "twice": 2 * self.count}

    def load_state_dict(self, state):
        self.loads += 1
        self.count = int(state["count"])
        assert state["twice"] == 2 * self.count, state


class SaveLoadTest(TestCase):
    """One process without a process group."""

    def assert_state(self, start, state):
        self.assertTrue(torch.equal(torch.arange(start, start + 4), state["weight"]), str(state))
        self.assertEqual({"step": start, "name": f"at {start}"}, state["progress"])

    def assert_refused(self, reason, call, *arguments, **options):
        with self.assertRaises(CheckpointException) as caught:
            call(*arguments, **options)
        self.assertRegex(str(caught.exception), reason)
        self.assertEqual([0], list(caught.exception.failures))

    @with_temp_dir
    def test_an_id_is_a_folder_by_text_or_path(self):
        for kind in (str, Path):
            folder = Path(self.temp_dir) / f"{kind.__name__} run" / "step 3"
            metadata = dcp.save(_state(3), checkpoint_id=kind(folder))
            self.assertEqual({"weight", "progress.step", "progress.name"}, set(metadata.state_dict_metadata))
            self.assertEqual([".metadata", "__0_0.distcp"], sorted(os.listdir(folder)))
            loaded = _state(0)
            dcp.load(loaded, checkpoint_id=kind(folder))
            self.assert_state(3, loaded)

    @with_temp_dir
    def test_an_id_sends_a_storage_elsewhere(self):
        first, second, third = (f"{self.temp_dir}/{name}" for name in ("first", "second", "third"))
        writer, reader = dcp.FileSystemWriter(first), dcp.FileSystemReader(first)
        metadata = [dcp.save(_state(2), checkpoint_id=second, storage_writer=writer)]
        self.assertEqual(second, str(writer.checkpoint_id))
        metadata.append(dcp.save(_state(3), checkpoint_id=third, storage_writer=writer))
        self.assertFalse(os.path.exists(first), "the writer's first folder was written")
        self.assertEqual([second, third], [str(one.storage_meta.checkpoint_id) for one in metadata])
        self.assertEqual(2, len({one.storage_meta.save_id for one in metadata}), "two saves have one save_id")
        for start, folder in ((2, second), (3, third)):
            loaded = _state(0)
            dcp.load(loaded, checkpoint_id=folder, storage_reader=reader)
            self.assert_state(start, loaded)

    @with_temp_dir
    def test_a_storage_needs_no_id(self):
        dcp.save(_state(5), storage_writer=dcp.FileSystemWriter(self.temp_dir))
        loaded = _state(0)
        dcp.load(loaded, storage_reader=dcp.FileSystemReader(self.temp_dir))
        self.assert_state(5, loaded)

    def test_neither_id_nor_storage_is_an_error(self):
        for call in (dcp.save, dcp.load):
            for options in ({}, {"checkpoint_id": ""}):
                with (
                    self.subTest(call.__name__, **options),
                    self.assertRaisesRegex(RuntimeError, "`checkpoint_id` must"),
                ):
                    call(_state(0), **options)

    def test_an_unknown_kind_of_storage_is_an_error(self):
        for call in (dcp.save, dcp.load):
            with self.assertRaisesRegex(RuntimeError, "Cannot detect which Storage"):
                call(_state(0), checkpoint_id="nosuchstorage://bucket/step")

    @unittest.skipIf(fsspec is None, "fsspec is not installed")
    @with_temp_dir
    def test_an_address_is_left_to_fsspec(self):
        folder = f"{self.temp_dir}/step"
        dcp.save(_state(4), checkpoint_id=f"file://{folder}")
        for checkpoint_id in (folder, f"file://{folder}"):
            loaded = _state(0)
            dcp.load(loaded, checkpoint_id=checkpoint_id)
            self.assert_state(4, loaded)

    @with_temp_dir
    def test_a_missing_process_group_is_told(self):
        for call, direction in ((dcp.save, "save"), (dcp.load, "load")):
            with self.assertWarnsRegex(UserWarning, f"uninitialized, .* to {direction} in a single process"):
                call(_state(1), checkpoint_id=self.temp_dir)

    @with_temp_dir
    def test_a_storage_as_second_argument_works_and_is_told(self):
        loaded = _state(0)
        with self.assertWarnsRegex(UserWarning, "argument order of save"):
            dcp.save(_state(6), dcp.FileSystemWriter(self.temp_dir))
        with self.assertWarnsRegex(UserWarning, "argument order of load"):
            dcp.load(loaded, dcp.FileSystemReader(self.temp_dir))
        self.assert_state(6, loaded)

    @with_temp_dir
    def test_stateful_objects_are_asked_and_told(self):
        counter, other = Counter(7), Counter(0)
        dcp.save({"counter": counter, "weight": torch.ones(2)}, checkpoint_id=self.temp_dir)
        loaded = {"counter": other, "weight": torch.zeros(2)}
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        self.assertTrue(loaded["counter"] is other)
        self.assertEqual((7, 1), (other.count, other.loads))
        self.assertEqual(0, counter.loads)

    @with_temp_dir
    def test_tensors_are_loaded_in_place_and_other_values_replaced(self):
        saved = {"whole": torch.tensor([1.5, -2.0]), "part": torch.arange(3), "list": [1, 2], "unasked": 8}
        dcp.save(saved, checkpoint_id=self.temp_dir)
        whole, strided = torch.zeros(2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.int64)
        old_list = [0]
        loaded = {"whole": whole, "part": strided[:, 1], "list": old_list}
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        self.assertEqual(["whole", "part", "list"], list(loaded))
        self.assertTrue(loaded["whole"] is whole)
        self.assertTrue(torch.equal(torch.tensor([1.5, -2.0], dtype=torch.float64), whole), "the dtype is the target's")
        self.assertTrue(torch.equal(torch.tensor([[0, 0], [0, 1], [0, 2]]), strided), "a view is filled where it lies")
        self.assertEqual(([1, 2], [0]), (loaded["list"], old_list))

    @with_temp_dir
    def test_what_does_not_fit_is_refused_and_nothing_is_loaded(self):
        dcp.save(_state(3), checkpoint_id=self.temp_dir)
        misfits = {
            "Missing key in checkpoint state_dict: extra": {"extra": torch.zeros(1)},
            r"Size mismatch between saved .*\[4\].* for weight": {"weight": torch.zeros(5)},
            "Invalid checkpoint metadata for weight": {"weight": "a text"},
        }
        for reason, misfit in misfits.items():
            state = {**_state(0), **misfit}
            self.assert_refused(reason, dcp.load, state, checkpoint_id=self.temp_dir)
            self.assertEqual({**_state(0), **misfit}, state)
        partial = {**_state(0), "extra": torch.full((1,), 9.0)}
        planner = dcp.DefaultLoadPlanner(allow_partial_load=True)
        dcp.load(partial, checkpoint_id=self.temp_dir, planner=planner)
        self.assert_state(3, partial)
        self.assertTrue(torch.equal(torch.full((1,), 9.0), partial["extra"]))

    @without_log
    @with_temp_dir
    def test_a_place_without_a_checkpoint_is_refused(self):
        self.assert_refused(r"nowhere/\.metadata", dcp.load, _state(0), checkpoint_id=f"{self.temp_dir}/nowhere")
        file = Path(self.temp_dir) / "file"
        file.touch()
        self.assert_refused("FileExistsError", dcp.save, _state(0), checkpoint_id=file)


class SaveLoadInRanksTest(DTensorTestBase):
    @property
    def world_size(self):
        return 4

    @property
    def backend(self):
        """Async saves need a backend for the CPU too."""
        return f"cpu:gloo,{self.device_type}:{dist.get_default_backend_for_device(self.device_type)}"

    def _own(self, number=None):
        """Return state that only this rank has, or another one's."""
        return _state(10 * (self.rank if number is None else number) + 1, self.device_type)

    def _fail(self, call, *arguments, **options):
        """Return the exception of a call that has to fail in every rank; None in a rank where it does not."""
        try:
            call(*arguments, **options)
        except CheckpointException as error:
            return error
        return None

    @needs_argument("no_dist")
    @with_comms
    @with_temp_dir
    def test_without_dist_each_rank_is_on_its_own(self):
        folder, load_options = f"{self.temp_dir}/{self.rank}", {}
        dcp.save(self._own(), checkpoint_id=folder, no_dist=True)
        if "no_dist" in inspect.signature(dcp.load).parameters:
            load_options["no_dist"] = True
        loaded = self._own(9)
        dcp.load(loaded, checkpoint_id=folder, **load_options)
        with agreed_between_ranks():
            self.assertEqual([".metadata", "__0_0.distcp"], sorted(os.listdir(folder)))
            self.assertEqual(self._own(), loaded, rtol=0, atol=0)

    @needs_argument("use_collectives")
    @with_comms
    @with_temp_dir
    def test_without_collectives_each_rank_writes_its_own_metadata(self):
        dcp.save(self._own(), checkpoint_id=self.temp_dir, use_collectives=False)
        loaded = self._own(9)
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        with agreed_between_ranks():
            self.assertEqual(self._own(), loaded, rtol=0, atol=0)
            files = [f"__{rank}{kind}" for rank in range(4) for kind in (".metadata", "_0.distcp")]
            self.assertEqual(files, sorted(os.listdir(self.temp_dir)))

    @needs_subgroups
    @with_comms
    @with_temp_dir
    def test_a_process_group_saves_what_its_ranks_hold(self):
        """Both groups save at once, so neither may wait for the other's ranks."""
        halves = [[0, 1], [2, 3]]
        groups = [dist.new_group(half) for half in halves]
        mine = self.rank // 2
        mesh = dist.device_mesh.DeviceMesh.from_group(groups[mine], self.device_type)
        full = torch.arange(4.0, device=self.device_type) + 10 * mine

        def state(full):
            local = full.chunk(2)[self.rank % 2].clone()
            return {"sharded": DTensor.from_local(local, mesh, [Shard(0)]), "half": mine}

        folder = f"{self.temp_dir}/{mine}"
        dcp.save(state(full), checkpoint_id=folder, process_group=groups[mine])
        loaded = state(torch.zeros_like(full))
        loaded["half"] = None
        dcp.load(loaded, checkpoint_id=folder, process_group=groups[mine])
        with agreed_between_ranks():
            self.assertEqual([".metadata", "__0_0.distcp", "__1_0.distcp"], sorted(os.listdir(folder)))
            self.assertTrue(torch.equal(full.chunk(2)[self.rank % 2], loaded["sharded"].to_local()))
            self.assertEqual(mine, loaded["half"])

    @with_comms
    @with_temp_dir
    def test_a_failure_of_one_rank_reaches_every_rank(self):
        state = _state(3, self.device_type)
        if self.rank == 1:
            state["cannot be written"] = lambda: None
        save = self._fail(dcp.save, state, checkpoint_id=f"{self.temp_dir}/failed")
        load_failed = self._fail(dcp.load, _state(0, self.device_type), checkpoint_id=f"{self.temp_dir}/failed")
        dcp.save(_state(3, self.device_type), checkpoint_id=f"{self.temp_dir}/good")
        state = _state(0, self.device_type)
        if self.rank == 2:
            state["unknown"] = torch.zeros(1, device=self.device_type)
        load = self._fail(dcp.load, state, checkpoint_id=f"{self.temp_dir}/good")
        with agreed_between_ranks():
            for failure, ranks, what in (
                (save, [1], "<lambda>"),
                (load_failed, [0, 1, 2, 3], r"failed/\.metadata"),
                (load, [2], "Missing key in checkpoint state_dict: unknown"),
            ):
                self.assertTrue(failure is not None, f"no failure with {what!r}")
                self.assertEqual(ranks, sorted(failure.failures))
                self.assertRegex(str(failure), what)
            self.assertFalse(os.path.exists(f"{self.temp_dir}/failed/.metadata"), "a failed save has metadata")

    @needs_staged_copies
    @with_comms
    @with_temp_dir
    def test_an_async_save_keeps_what_was_there_when_it_was_called(self):
        mesh = self.build_device_mesh()
        full = torch.arange(8.0, device=self.device_type)
        mine = full.chunk(4)[self.rank]
        sharded = DTensor.from_local(mine.clone(), mesh, [Shard(0)])
        replicated = full.clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = dcp.async_save({"sharded": sharded, "plain": replicated}, checkpoint_id=self.temp_dir)
        sharded.to_local().zero_()
        replicated.zero_()
        saved.result()
        loaded = {"sharded": sharded, "plain": replicated}
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        with agreed_between_ranks():
            self.assertTrue(torch.equal(mine, loaded["sharded"].to_local()), "the shard")
            self.assertTrue(torch.equal(full, loaded["plain"]), "the plain tensor")


if __name__ == "__main__":
    run_tests()
