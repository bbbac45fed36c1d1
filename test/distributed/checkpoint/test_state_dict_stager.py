# Owner(s): ["oncall: distributed checkpointing"]
"""State is staged for a checkpoint: copied to the CPU's memory, so that training can go on while it is written."""

import collections
import dataclasses
import multiprocessing
import unittest
import warnings

import torch
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import needs_staged_copies
from checkpoint_layouts import parts_of, place_of
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.distributed.checkpoint import staging
from torch.distributed.tensor import DTensor, Shard

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

try:
    from torch.distributed.checkpoint._state_dict_stager import StateDictStager
except ImportError:
    StateDictStager = None

needs_stager = unittest.skipIf(StateDictStager is None, "this torch has no StateDictStager")
needs_default_stager = unittest.skipUnless(hasattr(staging, "DefaultStager"), "this torch has no DefaultStager")


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


class Noted(torch.Tensor):
    """A subclass of tensors with an attribute of its own."""


@dataclasses.dataclass
class Part:
    weight: torch.Tensor
    name: str


@needs_stager
class StateDictStagerTest(TestCase):
    """Of one process; `StagingInRanksTest` stages from the device in use."""

    def assert_same(self, expected, staged):
        self.assertEqual(expected.dtype, staged.dtype)
        self.assertTrue(torch.equal(expected, staged), f"{staged.tolist()} is not {expected.tolist()}")

    def test_every_container_is_copied_and_other_values_are_kept(self):
        weight, reason = torch.arange(3.0), object()
        names = collections.OrderedDict(b=1, a=weight)
        state = {
            "list": [weight, 2, "two"],
            "tuple": (weight, (3.5, None)),
            "ordered": names,
            "part": Part(weight, "layer"),
            "plain": (1, 2),
            7: {"kind": torch.float16, "class": Part, "call": len},
        }
        staged = StateDictStager().stage(state)
        self.assertEqual(list(state), list(staged))
        found = [staged["list"][0], staged["tuple"][0], staged["ordered"]["a"], staged["part"].weight]
        for one in found:
            self.assert_same(weight, one)
            self.assertTrue(one is found[0], "a tensor that is met twice was copied twice")
        self.assertTrue(found[0] is not weight)
        self.assertEqual([2, "two"], staged["list"][1:])
        self.assertEqual((3.5, None), staged["tuple"][1])
        self.assertEqual((collections.OrderedDict, ["b", "a"]), (type(staged["ordered"]), list(staged["ordered"])))
        self.assertTrue(staged["part"] is not state["part"])
        self.assertEqual("layer", staged["part"].name)
        self.assertTrue(staged["plain"] is state["plain"], "a tuple without tensors needs no copy")
        self.assertEqual(state[7], staged[7])
        self.assertEqual(1, len({id(part) for part in StateDictStager().stage([reason, reason])}))

    def test_a_loop_in_the_state_is_a_loop_in_the_copy(self):
        state = {"weight": torch.ones(1)}
        state["self"] = [state]
        staged = StateDictStager().stage(state)
        self.assertTrue(staged is not state)
        self.assertTrue(staged["self"][0] is staged)

    def test_subclasses_and_attributes_are_kept(self):
        noted = torch.arange(4.0).as_subclass(Noted)
        noted.note, noted.scale = "hello", torch.tensor([2.0])
        staged = StateDictStager().stage({"noted": noted})["noted"]
        self.assertTrue(type(staged) is Noted)
        self.assert_same(noted.as_subclass(torch.Tensor), staged.as_subclass(torch.Tensor))
        self.assertEqual("hello", staged.note)
        self.assert_same(torch.tensor([2.0]), staged.scale)
        self.assertNotEqual(_memory(noted.scale), _memory(staged.scale))

    def test_shared_memory_is_seen_by_another_process(self):
        for is_shared in (True, False):
            staged = StateDictStager(share_memory=is_shared).stage({"weight": torch.zeros(3)})["weight"]
            writer = multiprocessing.get_context("fork").Process(target=staged.fill_, args=(7,))
            writer.start()
            writer.join()
            self.assertEqual(0, writer.exitcode)
            self.assertEqual(is_shared, staged.is_shared())
            self.assert_same(torch.full((3,), 7.0 if is_shared else 0.0), staged)

    def test_copies_are_forgotten_with_their_tensors(self):
        stager = StateDictStager()
        kept, gone = torch.ones(2), torch.ones(3)
        stager.stage({"kept": kept, "view": kept[1:], "gone": gone})
        self.assertEqual(2, len(stager._cached_storage_mapping), "one copy for each memory")
        del gone
        self.assertEqual(1, len(stager._cached_storage_mapping))
        stager.close()
        self.assertEqual(0, len(stager._cached_storage_mapping))

    def test_memory_that_has_grown_is_refused(self):
        stager, weight = StateDictStager(), torch.ones(2)
        stager.stage([weight])
        weight.resize_(1000)
        with self.assertRaisesRegex(AssertionError, "storage size does not match"):
            stager.stage([weight])


class StagingInRanksTest(DTensorTestBase):
    @property
    def world_size(self):
        return 2

    @needs_stager
    @with_comms
    def test_views_share_memory_in_the_copy_as_well(self):
        base = torch.arange(12.0, device=self.device_type).view(3, 4) + 100 * self.rank
        expected = base.cpu().clone()
        parameter = torch.nn.Parameter(torch.full((2,), 0.5, device=self.device_type))
        types = {dtype: torch.ones(2, dtype=dtype, device=self.device_type) for dtype in (torch.bfloat16, torch.bool)}
        state = {
            "row": base[1],
            "base": base,
            "turned": base.t(),
            "stepped": base[:, ::2],
            "parameter": parameter,
            "types": types,
            "empty": torch.empty(0, 3, device=self.device_type),
            "scalar": torch.tensor(3, device=self.device_type),
        }
        staged = StateDictStager().stage(state)
        strides = {name: (state[name].stride(), state[name].storage_offset()) for name in ("row", "turned", "stepped")}
        base.zero_()
        parameter.data.zero_()
        with agreed_between_ranks():
            for name, value in {
                "row": expected[1],
                "base": expected,
                "turned": expected.t(),
                "stepped": expected[:, ::2],
                "parameter": torch.full((2,), 0.5),
                "empty": torch.empty(0, 3),
                "scalar": torch.tensor(3),
            }.items():
                self.assertEqual("cpu", staged[name].device.type, f"{name} is not on the CPU")
                self.assertEqual(value.dtype, staged[name].dtype)
                self.assertTrue(torch.equal(value, staged[name]), f"{name}: {staged[name].tolist()}")
            for name, stride in strides.items():
                self.assertEqual(stride, (staged[name].stride(), staged[name].storage_offset()))
                self.assertEqual(_memory(staged["base"]), _memory(staged[name]), f"{name} has memory of its own")
            for dtype, tensor in types.items():
                self.assertEqual(dtype, staged["types"][dtype].dtype)
                self.assertTrue(torch.equal(tensor.cpu(), staged["types"][dtype]))
            self.assertFalse(staged["parameter"].requires_grad)

    @needs_stager
    @with_comms
    def test_memory_is_used_again(self):
        weight, stager = torch.zeros(3, device=self.device_type), StateDictStager()
        first = stager.stage({"weight": weight})["weight"]
        weight.fill_(self.rank + 1)
        second = stager.stage({"weight": weight})["weight"]
        other = StateDictStager().stage({"weight": weight})["weight"]
        with agreed_between_ranks():
            self.assertTrue(torch.equal(torch.full((3,), self.rank + 1.0), second), "the old values were staged")
            self.assertEqual(_memory(first), _memory(second), "the second copy has new memory")
            self.assertNotEqual(_memory(first), _memory(other))

    @needs_stager
    @with_comms
    def test_memory_is_pinned_where_that_helps(self):
        """Without CUDA there is nothing to pin memory for, and the stager says so."""
        has_cuda, weight = torch.cuda.is_available(), torch.arange(8.0, device=self.device_type)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            stager = StateDictStager(pin_memory=True, pin_memory_min_bytes=16)
        staged = stager.stage({"large": weight, "small": torch.ones(3, device=self.device_type)})
        with agreed_between_ranks():
            self.assertTrue(torch.equal(weight.cpu(), staged["large"]))
            ignored = [one for one in told if "Ignoring pin_memory" in str(one.message)]
            self.assertEqual(0 if has_cuda else 1, len(ignored))
            if has_cuda:
                pinned = {name: tensor.is_pinned() for name, tensor in staged.items()}
                self.assertEqual({"large": True, "small": False}, pinned)
        stager.close()

    def _shards(self, full):
        """Return each rank's half of a tensor, as a DTensor and as a ShardedTensor."""
        local = full.chunk(2)[self.rank].clone()
        of_mesh = DTensor.from_local(local, self.build_device_mesh(), [Shard(0)])
        places = [place_of(rank, self.device_type) for rank in range(2)]
        of_spec = sharded_tensor.empty(ChunkShardingSpec(0, places), *full.shape)
        of_spec.local_shards()[0].tensor.copy_(local)
        return {"dtensor": of_mesh, "sharded": of_spec}

    def _check_saved_once_staged(self, stager, kinds):
        """Stages shards, changes them, saves the copy, and loads it."""
        full = torch.arange(8.0, device=self.device_type).view(4, 2)
        mine = full.chunk(2)[self.rank].clone()
        state = {kind: shards for kind, shards in self._shards(full).items() if kind in kinds}
        staged = stager.stage(state)
        for shards in state.values():
            parts_of(shards)[0].zero_()
        dcp.save(staged, checkpoint_id=self.temp_dir)
        dcp.load(state, checkpoint_id=self.temp_dir)
        with agreed_between_ranks():
            for kind in kinds:
                self.assertEqual("cpu", parts_of(staged[kind])[0].device.type)
                self.assertTrue(torch.equal(mine, parts_of(state[kind])[0]), kind)

    @needs_stager
    @with_comms
    @with_temp_dir
    def test_staged_shards_can_be_saved(self):
        self._check_saved_once_staged(StateDictStager(), ["dtensor"])

    @needs_stager
    @unittest.expectedFailure  # torch 2.13 asks a ShardedTensor for its data_ptr, and it has none
    @with_comms
    @with_temp_dir
    def test_staged_sharded_tensors_can_be_saved(self):
        self._check_saved_once_staged(StateDictStager(), ["sharded"])

    @needs_staged_copies
    @with_comms
    @with_temp_dir
    def test_shards_staged_by_the_blocking_stager_can_be_saved(self):
        self._check_saved_once_staged(staging.BlockingAsyncStager(), ["dtensor", "sharded"])

    @needs_staged_copies
    @with_comms
    def test_the_blocking_stager_copies_at_once(self):
        weight = torch.arange(4.0, device=self.device_type)
        stager = staging.BlockingAsyncStager()
        staged = stager.stage({"deep": [{"weight": weight}], "step": self.rank})
        weight.zero_()
        stager.synchronize_staging()
        with agreed_between_ranks():
            copy = staged["deep"][0]["weight"]
            self.assertEqual(("cpu", self.rank), (copy.device.type, staged["step"]))
            self.assertTrue(torch.equal(torch.arange(4.0), copy))
            self.assertFalse(stager.should_synchronize_after_execute)

    @needs_default_stager
    @with_comms
    def test_the_default_stager_stages_now_or_later(self):
        weight = torch.arange(4.0, device=self.device_type)
        options = [staging.StagingOptions(False, False, is_late, False) for is_late in (False, True)]
        now, later = map(staging.DefaultStager, options)
        staged = now.stage({"weight": weight})
        future = later.stage({"weight": weight})
        later.synchronize_staging()
        is_done, result = future.done(), future.result(timeout=60)
        weight.zero_()
        for stager in (now, later):
            stager.close()
        with agreed_between_ranks():
            self.assertTrue(is_done, "staging goes on though it was waited for")
            for name, copy in (("now", staged), ("later", result)):
                self.assertTrue(torch.equal(torch.arange(4.0), copy["weight"]), name)
            with self.assertRaisesRegex(RuntimeError, "after shutdown"):
                later.stage({"weight": weight})

    @needs_default_stager
    @with_comms
    def test_copies_that_do_not_block_need_an_accelerator(self):
        options = staging.StagingOptions(False, False, False, True)
        with agreed_between_ranks():
            if not torch.accelerator.is_available():
                with self.assertRaisesRegex(AssertionError, "accelerator is available"):
                    staging.DefaultStager(options)
                return
            weight = torch.arange(4.0, device=self.device_type)
            staged = staging.DefaultStager(options).stage({"weight": weight})
            self.assertTrue(torch.equal(torch.arange(4.0), staged["weight"]))


if __name__ == "__main__":
    run_tests()
