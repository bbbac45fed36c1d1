# Owner(s): ["oncall: distributed checkpointing"]
"""Checkpoints in a file system: what ranks save in one layout is loaded in another."""

from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import (
    needs_argument,
    needs_pinned_memory,
    needs_staged_copies,
    needs_subgroups,
)
from checkpoint_layouts import layouts_of, parts_of
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

#: The tensor that is saved and loaded in every layout.
FULL = torch.arange(80.0).view(10, 8)


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
        """Save two states by one writer and zero each at once, load both; return where each was staged."""
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
