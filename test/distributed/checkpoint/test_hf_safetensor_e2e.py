# Owner(s): ["oncall: distributed"]
"""HuggingFace checkpoints from one end to the other: ranks save, files are consolidated, other ranks load otherwise.

Values are made from their names in each rank, and files are read and written here without torch's code.
"""

import unittest
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from exact_values import about, assert_same_bits, exact_values
from safetensors_format import INDEX, Entry, needs_huggingface, read_file, read_index, write_file
from torch.distributed._shard.sharded_tensor import Shard as LocalShard, init_from_local_shards
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

try:
    from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files_on_every_rank
except ImportError:
    consolidate_safetensors_files_on_every_rank = None

#: Names and sizes of the tensors of a checkpoint. Ranks share them evenly, unevenly, and so that some get nothing.
SHAPES = {"even": (8, 4), "uneven": (7, 5), "few.rows": (3, 6), "bias": (5,)}

#: Ways to lay tensors on ranks: the size of the mesh and the placements.
LAYOUTS = {
    "rows": ((4,), [Shard(0)]),
    "last": ((4,), [Shard(-1)]),
    "replicated": ((4,), [Replicate()]),
    "hybrid": ((2, 2), [Replicate(), Shard(0)]),
    "grid": ((2, 2), [Shard(0), Shard(-1)]),
}


def whole(name):
    return exact_values(name, SHAPES[name])


@needs_huggingface
class HfSafetensorE2ETest(DTensorTestBase):
    world_size = 4

    @property
    def backend(self):
        return f"cpu:gloo,{self.device_type}:{dist.get_default_backend_for_device(self.device_type)}"

    @property
    def folder(self):
        return Path(self.temp_dir)

    def _laid_out(self, layout, tensor_of):
        """Make the state as DTensors of what `tensor_of` gives for a name. A bias cannot lie on a grid, so it lies on
        all ranks then."""
        sizes, placements = LAYOUTS[layout]
        mesh = init_device_mesh(self.device_type, sizes)
        state = {}
        for name in SHAPES:
            tensor = tensor_of(name).to(self.device_type)
            fitting = placements if tensor.dim() > 1 or layout != "grid" else [Replicate(), Replicate()]
            normal = [Shard(place.dim % tensor.dim()) if isinstance(place, Shard) else place for place in fitting]
            state[name] = distribute_tensor(tensor, mesh, normal)
        return state

    def _save(self, layout, folder, **options):
        dcp.save(
            self._laid_out(layout, whole),
            storage_writer=dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True, **options),
        )

    def _load_and_check(self, layout, folder):
        state = self._laid_out(layout, lambda name: torch.zeros(SHAPES[name]))
        dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(folder)))
        expected = self._laid_out(layout, whole)
        with agreed_between_ranks():
            for name, tensor in state.items():
                assert_same_bits(self, f"{name} as {layout}", tensor.to_local(), expected[name].to_local())

    def _assert_parts_make_the_whole(self, folder):
        """Put the parts of all files in their places, where each element has to be written once."""
        found = {name: torch.full(shape, -1.0) for name, shape in SHAPES.items()}
        times = {name: torch.zeros(shape, dtype=torch.int) for name, shape in SHAPES.items()}
        for path in sorted(folder.glob("*.safetensors")):
            for name, entry in read_file(path).items():
                self.assertEqual(entry.dtype, "F32")
                places = tuple(slice(at, at + size) for at, size in zip(entry.offsets, entry.shape, strict=True))
                if entry.data:
                    values = torch.frombuffer(bytearray(entry.data), dtype=torch.float32)
                    found[name][places] = values.reshape(entry.shape)
                    times[name][places] += 1
        for name in SHAPES:
            assert_same_bits(self, name, found[name], whole(name))
            self.assertEqual(times[name], torch.ones_like(times[name]), about(f"times that {name} was written"))

    def _assert_consolidated(self, folder, files_of):
        """Check the files that hold whole tensors, and their index."""
        count = max(files_of.values())
        names = {name: f"model-{index:05}-of-{count:05}.safetensors" for name, index in files_of.items()}
        size = sum(whole(name).numel() * 4 for name in files_of)
        self.assertEqual(read_index(folder), (names, size), about("index"))
        found = {
            name: entry for file in sorted(set(names.values())) for name, entry in read_file(folder / file).items()
        }
        for name in files_of:
            self.assertIn(name, read_file(folder / names[name]))
            self.assertTrue(found[name] == Entry.of(whole(name)), f"{name} is not what was saved")

    @with_comms
    @with_temp_dir
    @parametrize("layout", list(LAYOUTS))
    def test_each_layout_is_written_once_and_loads_as_any_other(self, layout):
        self._save(layout, self.folder)
        with agreed_between_ranks():
            self._assert_parts_make_the_whole(self.folder)
            self.assertFalse((self.folder / INDEX).exists(), "an index cannot name several files for one tensor")
        for other in LAYOUTS:
            self._load_and_check(other, self.folder)

    @with_comms
    @with_temp_dir
    @parametrize("layout", ["rows", "grid"])
    def test_a_save_consolidates(self, layout):
        files_of = {"even": 1, "uneven": 2, "few.rows": 2, "bias": 1}
        self._save(
            layout, self.folder, enable_consolidation=True, fqn_to_index_mapping=files_of, thread_count_consolidation=2
        )
        with agreed_between_ranks():
            self._assert_consolidated(self.folder, files_of)
            self._assert_parts_make_the_whole(self.folder / "sharded")
        self._load_and_check("last", self.folder)

    @with_comms
    @with_temp_dir
    def test_all_ranks_consolidate_together(self):
        sharded, files_of = self.folder / "in", {"even": 1, "uneven": 2, "few.rows": 3, "bias": 5}
        self._save("grid", sharded)
        consolidated = self.folder / "out"
        consolidated.mkdir(exist_ok=True)
        consolidate_safetensors_files_on_every_rank(str(sharded), str(consolidated), files_of)
        with agreed_between_ranks():
            self._assert_consolidated(consolidated, files_of)

    @with_comms
    @with_temp_dir
    def test_fewer_ranks_load(self):
        self._save("rows", self.folder)
        group = dist.new_group([1, 2])
        mesh = DeviceMesh(self.device_type, [1, 2])
        state = {
            name: distribute_tensor(torch.zeros(shape).to(self.device_type), mesh, [Shard(0)])
            for name, shape in SHAPES.items()
        }
        reader = dcp.HuggingFaceStorageReader(str(self.folder))
        if self.rank in (1, 2):
            dcp.load(state, storage_reader=reader, process_group=group)
        alone = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
        dcp.load(alone, storage_reader=reader, no_dist=True)
        with agreed_between_ranks():
            for name in SHAPES:
                assert_same_bits(self, f"{name} in one rank", alone[name], whole(name))
                if self.rank in (1, 2):
                    # the last rank has what is left, which can be nothing
                    parts = [*whole(name).chunk(2), torch.empty(0, *SHAPES[name][1:])]
                    assert_same_bits(self, f"{name} in two ranks", state[name].to_local(), parts[self.rank - 1])

    @with_comms
    @with_temp_dir
    def test_a_published_checkpoint_is_trained_with_fsdp_and_saved(self):
        if self.rank == 0:
            files = {"one": ["0.weight", "0.bias"], "two": ["2.weight", "2.bias"]}
            for file, names in files.items():
                write_file(
                    self.folder / f"{file}.safetensors", {name: Entry.of(self._published(name)) for name in names}
                )
        dist.barrier()
        model = self._sharded_model()
        state = model.state_dict()
        dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(self.temp_dir))
        model.load_state_dict(state)
        for name, parameter in model.named_parameters():
            gathered = parameter.full_tensor()
            with agreed_between_ranks():
                assert_same_bits(self, name, gathered, self._published(name))

        model(torch.ones(2, 6, device=self.device_type)).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.5).step()
        trained = {name: tensor.full_tensor() for name, tensor in model.state_dict().items()}
        writer = dcp.HuggingFaceStorageWriter(
            str(self.folder / "trained"), save_distributed=True, enable_consolidation=True
        )
        dcp.save(model.state_dict(), storage_writer=writer)
        saved = read_file(self.folder / "trained" / "model-00001-of-00001.safetensors")
        with agreed_between_ranks():
            self.assertEqual(sorted(saved), sorted(trained))
            for name, tensor in trained.items():
                self.assertTrue(saved[name] == Entry.of(tensor), f"{name} is not what was trained")
            self.assertTrue(saved["0.bias"] != Entry.of(self._published("0.bias")), "nothing was trained")

    def _published(self, name):
        """Return a value of the published checkpoint: multiples of 1/16, which training changes without an overflow."""
        shape = {"0.weight": (5, 6), "0.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}[name]
        return exact_values(name, shape, torch.int8).float() / 16

    def _sharded_model(self):
        from torch.distributed.fsdp import fully_shard

        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).to(self.device_type)
        return fully_shard(model, mesh=self.build_device_mesh())

    # Torch 2.13 to 2.15 keep one part of a tensor in each file, by its name, and lose the others without a word.
    @unittest.expectedFailure
    @with_comms
    @with_temp_dir
    def test_two_parts_of_a_tensor_in_one_rank_are_both_written(self):
        def part(at):
            return exact_values(f"part {at}", (2, 3))

        ranks = [*range(self.world_size), *range(self.world_size)]
        mine = [
            LocalShard.from_tensor_and_offsets(part(at).to(self.device_type), [2 * at, 0], rank)
            for at, rank in enumerate(ranks)
            if rank == self.rank
        ]
        state = {"a": init_from_local_shards(mine, 2 * len(ranks), 3)}
        dcp.save(state, storage_writer=dcp.HuggingFaceStorageWriter(self.temp_dir, save_distributed=True))
        loaded = {"a": torch.zeros(2 * len(ranks), 3)}
        dcp.load(loaded, storage_reader=dcp.HuggingFaceStorageReader(self.temp_dir), no_dist=True)
        with agreed_between_ranks():
            assert_same_bits(self, "a", loaded["a"], torch.cat([part(at) for at in range(len(ranks))]))


instantiate_parametrized_tests(HfSafetensorE2ETest)
if __name__ == "__main__":
    run_tests()
