# Owner(s): ["oncall: distributed checkpointing"]
"""Checkpoints in a file system: what is saved in one layout is loaded in another, and what the folder holds."""

import contextlib
import inspect
import os
import unittest
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import (
    needs_argument,
    needs_pinned_memory,
    needs_staged_copies,
    needs_subgroups,
    without_log,
)
from checkpoint_layouts import layouts_of, parts_of
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

#: Whether a file's last bytes leave the process before it is synced.
FLUSHES = "stream.flush()" in inspect.getsource(filesystem._write_files_from_queue)

#: The tensor that is saved and loaded in every layout.
FULL = torch.arange(80.0).view(10, 8)

#: A user who may write nowhere: the one that systems call "nobody".
NOBODY = 65534

#: One tensor of each kind that is stored in its own way. They are made anew by each call.
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
    *(getattr(torch, name) for name in ("float8_e4m3fn",) if hasattr(torch, name)),
]


def _plain_state(factor=1):
    state = {str(dtype): (torch.arange(6) * factor).to(dtype) for dtype in DTYPES}
    base = torch.arange(12.0).view(3, 4) * factor
    return {
        **state,
        "turned": base.t(),
        "row": base[1],
        "expanded": torch.full((1,), 3.0 * factor).expand(4),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5 * factor),
        "parameter": torch.nn.Parameter(torch.ones(2) * factor),
    }


def _bits(tensor):
    """Return a tensor's bytes, so that values that equal nothing, as NaN, and types without comparison compare too."""
    whole = tensor.detach().cpu().contiguous()
    return whole.reshape(-1).view(torch.uint8).tolist()


class FileSystemTest(TestCase):
    """One process without a process group."""

    def assert_state(self, expected, actual):
        self.assertEqual(list(expected), list(actual))
        for name, tensor in expected.items():
            self.assertEqual((tensor.dtype, tensor.shape), (actual[name].dtype, actual[name].shape))
            self.assertTrue(_bits(tensor) == _bits(actual[name]), f"{name} is {actual[name]}, not {tensor}")

    def _load(self, folder, like):
        loaded = {
            name: torch.zeros_like(tensor, memory_format=torch.contiguous_format) for name, tensor in like.items()
        }
        dcp.load(loaded, storage_reader=dcp.FileSystemReader(folder))
        return loaded

    @with_temp_dir
    def test_plain_tensors_are_the_same_bit_for_bit(self):
        odd = {"odd": torch.tensor([float("nan"), -0.0, float("-inf"), 1e-42])}
        dcp.save({**_plain_state(), **odd}, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assert_state({**_plain_state(), **odd}, self._load(self.temp_dir, {**_plain_state(), **odd}))

    @with_temp_dir
    def test_a_view_takes_the_room_of_its_elements(self):
        large = torch.zeros(100_000)
        dcp.save({"part": large[:4]}, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assertLess((Path(self.temp_dir) / "__0_0.distcp").stat().st_size, 10_000)

    @with_temp_dir
    def test_several_files_for_one_rank(self):
        state = _plain_state()
        ways = {"each its own": {"single_file_per_rank": False}, "by threads": {"thread_count": 3}}
        for (way, options), count in zip(ways.items(), (len(state), 3), strict=True):
            folder = f"{self.temp_dir}/{way}"
            metadata = dcp.save(state, storage_writer=dcp.FileSystemWriter(folder, **options))
            files = {f"__0_{number}.distcp" for number in range(count)}
            self.assertEqual({".metadata", *files}, set(os.listdir(folder)))
            self.assertEqual(files, {info.relative_path for info in metadata.storage_data.values()})
            self.assert_state(state, self._load(folder, state))

    def _synced(self, **options):
        """Saves, and returns for each synced file whether all of it had left the process."""
        sizes = {}

        def fsync(descriptor):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            sizes[os.path.basename(path)] = os.fstat(descriptor).st_size

        with mock.patch.object(os, "fsync", fsync):
            dcp.save({"weight": torch.ones(3)}, storage_writer=dcp.FileSystemWriter(self.temp_dir, **options))
        names = {name.removesuffix(".tmp"): size for name, size in sizes.items()}
        return {name: (Path(self.temp_dir) / name).stat().st_size == size for name, size in names.items()}

    @with_temp_dir
    def test_files_are_synced_where_that_is_asked(self):
        self.assertEqual({".metadata", "__0_0.distcp"}, set(self._synced()))
        self.assertEqual({}, self._synced(sync_files=False))

    @with_temp_dir
    def test_a_file_is_complete_when_it_is_synced(self):
        self.assertEqual({".metadata": True, "__0_0.distcp": True}, self._synced())

    if not FLUSHES:  # torch 2.13 syncs files whose last bytes are still in the process, and then closes them
        test_a_file_is_complete_when_it_is_synced = unittest.expectedFailure(test_a_file_is_complete_when_it_is_synced)

    @with_temp_dir
    def test_an_old_checkpoint_is_overwritten_unless_that_is_forbidden(self):
        old, new = {"weight": torch.tensor([1, 2]), "gone": torch.zeros(1)}, {"weight": torch.tensor([3, 4])}
        dcp.save(old, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        with self.assertRaisesRegex(CheckpointException, "Checkpoint already exists"):
            dcp.save(new, storage_writer=dcp.FileSystemWriter(self.temp_dir, overwrite=False))
        self.assert_state(old, self._load(self.temp_dir, old))
        with self.assertWarnsRegex(UserWarning, "existing checkpoint"):
            dcp.save(new, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assert_state(new, self._load(self.temp_dir, new))
        with self.assertRaisesRegex(CheckpointException, "Missing key .*: gone"):
            self._load(self.temp_dir, old)
        self.assertEqual([".metadata", "__0_0.distcp"], sorted(os.listdir(self.temp_dir)))
        fresh = dcp.FileSystemWriter(f"{self.temp_dir}/fresh", overwrite=False)
        dcp.save(new, storage_writer=fresh)
        self.assert_state(new, self._load(f"{self.temp_dir}/fresh", new))

    @without_log
    @with_temp_dir
    def test_a_damaged_checkpoint_is_refused(self):
        state = {"weight": torch.arange(4)}
        for damaged in (".metadata", "__0_0.distcp"):
            folder = Path(self.temp_dir) / damaged.strip(".")
            dcp.save(state, storage_writer=dcp.FileSystemWriter(folder))
            (folder / damaged).unlink()
            with self.assertRaisesRegex(CheckpointException, f"No such file .*{damaged}"):
                self._load(folder, state)

    @with_temp_dir
    def test_a_folder_without_write_permission_can_only_be_read(self):
        state, folder = _plain_state(), Path(self.temp_dir)
        dcp.save(state, storage_writer=dcp.FileSystemWriter(folder))
        self._load(folder, state)  # what is imported late is imported before the rights are dropped
        with _in_folder_that_is_read_only(folder):
            loaded = self._load(".", state)
            with self.assertRaisesRegex(CheckpointException, "Permission denied"):
                dcp.save(_plain_state(2), storage_writer=dcp.FileSystemWriter("."))
        self.assert_state(state, loaded)
        self.assert_state(state, self._load(folder, state))


@contextlib.contextmanager
def _in_folder_that_is_read_only(folder):
    """Work in a folder whose mode forbids writing, as a user who is bound by it: root is not."""
    old_folder, is_root = os.getcwd(), os.geteuid() == 0
    modes = {path: path.stat().st_mode for path in (*folder.iterdir(), folder)}
    os.chdir(folder)
    try:
        for path in modes:
            path.chmod(0o555)
        if is_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
        os.chdir(old_folder)


class FileSystemInRanksTest(DTensorTestBase):
    @property
    def world_size(self):
        return 4

    @property
    def backend(self):
        """Async saves need a backend for the CPU too."""
        return f"cpu:gloo,{self.device_type}:{dist.get_default_backend_for_device(self.device_type)}"

    def assert_none_wrong(self, wrong):
        self.assertFalse(wrong, f"{len(wrong)} parts are wrong, first: {wrong[:1]}")

    def _layouts(self):
        return layouts_of(FULL, self.device_type)

    @with_comms
    @with_temp_dir
    def test_each_layout_is_loaded_into_each_other(self):
        """Each name is saved in one layout, with values of its own, and then loaded into every layout."""
        expected = self._layouts()
        names, saved, target = list(expected), self._layouts(), self._layouts()
        for number, name in enumerate(names):
            for part in parts_of(saved[name]):
                part.add_(100 * number)
        dcp.save(saved, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        wrong, checked = [], 0
        for turn in range(len(names)):
            layouts = names[turn:] + names[:turn]
            for part in (part for tensor in target.values() for part in parts_of(tensor)):
                part.fill_(-1)
            dcp.load(
                {name: target[layout] for name, layout in zip(names, layouts, strict=True)},
                storage_reader=dcp.FileSystemReader(self.temp_dir),
            )
            for number, (name, layout) in enumerate(zip(names, layouts, strict=True)):
                for part, whole in zip(parts_of(target[layout]), parts_of(expected[layout]), strict=True):
                    checked += part.numel()
                    if not torch.equal(whole + 100 * number, part):
                        wrong.append(f"{name} loaded as {layout}: {part.tolist()}")
        with agreed_between_ranks():
            self.assert_none_wrong(wrong)
            self.assertGreater(checked, len(names) * FULL.numel())

    @needs_subgroups
    @with_comms
    @with_temp_dir
    def test_fewer_ranks_load_what_more_have_saved(self):
        saved = self._layouts()
        dcp.save(saved, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        wrong = []
        for ranks in ([0, 1, 2], [3, 1], [2]):
            group = dist.new_group(ranks)
            if self.rank not in ranks:
                continue
            mesh = DeviceMesh.from_group(group, self.device_type)
            local = FULL.chunk(len(ranks))[dist.get_rank(group)].to(self.device_type)
            loaded = {name: _rows(torch.zeros_like(local), mesh, FULL) for name in saved}
            dcp.load(loaded, storage_reader=dcp.FileSystemReader(self.temp_dir), process_group=group)
            wrong += [f"{name} on {ranks}" for name in saved if not torch.equal(local, loaded[name].to_local())]
        with agreed_between_ranks():
            self.assert_none_wrong(wrong)

    @with_comms
    @with_temp_dir
    def test_what_all_ranks_have_is_written_once(self):
        state = {name: torch.full((5,), float(ord(name)), device=self.device_type) for name in "abcd"}
        for is_lowest, files in ((False, {f"__{rank}_0.distcp" for rank in range(4)}), (True, {"__0_0.distcp"})):
            folder = f"{self.temp_dir}/{is_lowest}"
            planner = dcp.DefaultSavePlanner(dedup_save_to_lowest_rank=is_lowest)
            dcp.save(state, storage_writer=dcp.FileSystemWriter(folder), planner=planner)
            loaded = {name: torch.zeros(5, device=self.device_type) for name in state}
            dcp.load(loaded, storage_reader=dcp.FileSystemReader(folder))
            with agreed_between_ranks():
                storage = dcp.FileSystemReader(folder).read_metadata().storage_data
                self.assertEqual((4, files), (len(storage), {info.relative_path for info in storage.values()}))
                for name, tensor in state.items():
                    self.assertTrue(torch.equal(tensor, loaded[name]), name)

    @needs_argument("enable_plan_caching", dcp.DefaultSavePlanner)
    @with_comms
    @with_temp_dir
    def test_plans_are_used_again_while_the_state_looks_the_same(self):
        is_new, create = [], dcp.DefaultSavePlanner.create_local_plan

        def create_local_plan(planner):
            plan = create(planner)
            is_new.append(plan.usable)
            return plan

        rows = [(10, 1), (10, 2), (6, 3), (6, 4)]  # the number of rows of each save, and its values
        with mock.patch.object(dcp.DefaultSavePlanner, "create_local_plan", create_local_plan):
            for count, value in rows:
                planner = dcp.DefaultSavePlanner(enable_plan_caching=True)
                folder = f"{self.temp_dir}/{value}"
                dcp.save(self._counted(count, value), storage_writer=dcp.FileSystemWriter(folder), planner=planner)
        wrong = []
        for count, value in rows:
            loaded = self._counted(count, 0)
            dcp.load(loaded, storage_reader=dcp.FileSystemReader(f"{self.temp_dir}/{value}"))
            for name, tensor in self._counted(count, value).items():
                pairs = zip(parts_of(tensor), parts_of(loaded[name]), strict=True)
                wrong += [f"{name} of save {value}" for expected, part in pairs if not torch.equal(expected, part)]
        with agreed_between_ranks():
            self.assert_none_wrong(wrong)
            self.assertEqual([True, False, True, False], is_new)

    def _counted(self, rows, value):
        full = torch.arange(rows * 2.0).view(rows, 2) * value
        mesh = self.build_device_mesh()
        return {
            "sharded": distribute_tensor(full.to(self.device_type), mesh, [Shard(0)]),
            "plain": full.to(self.device_type),
        }

    def _save_async_twice(self, is_cached):
        """Saves two states by one writer and zeroes each at once, loads both; returns where each was staged."""
        weight = torch.arange(4.0, device=self.device_type)
        writer = dcp.FileSystemWriter(self.temp_dir, cache_staged_state_dict=is_cached)
        memory, loaded = [], []
        stage = writer.stage

        def stage_and_note(state):
            staged = stage(state)
            memory.append(staged["weight"].data_ptr())
            return staged

        with mock.patch.object(writer, "stage", stage_and_note):
            for value in (1, 2):
                weight.copy_(torch.arange(4.0) * value)
                saved = dcp.async_save(
                    {"weight": weight}, checkpoint_id=f"{self.temp_dir}/{value}", storage_writer=writer
                )
                weight.zero_()
                saved.result()
        for value in (1, 2):
            loaded.append(torch.zeros(4, device=self.device_type))
            dcp.load({"weight": loaded[-1]}, checkpoint_id=f"{self.temp_dir}/{value}")
        with agreed_between_ranks():
            for value, tensor in enumerate(loaded, 1):
                self.assertTrue(torch.equal(torch.arange(4.0) * value, tensor.cpu()), f"save {value}")
            self.assertEqual(2, len(memory), "the writer was not asked to stage")
        return memory

    @needs_staged_copies
    @with_comms
    @with_temp_dir
    def test_the_writer_stages_what_it_saves(self):
        self._save_async_twice(is_cached=False)

    @needs_staged_copies
    @needs_pinned_memory
    @with_comms
    @with_temp_dir
    def test_the_writer_keeps_its_memory_for_the_next_save(self):
        memory = self._save_async_twice(is_cached=True)
        with agreed_between_ranks():
            self.assertEqual(memory[0], memory[1])


def _rows(local, mesh, full):
    return DTensor.from_local(local, mesh, [Shard(0)], shape=full.shape, stride=full.stride())


if __name__ == "__main__":
    run_tests()
