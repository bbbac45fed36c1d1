# Owner(s): ["oncall: distributed checkpointing"]
"""Nested state is flattened to one level for a checkpoint, and restored from it."""

import collections
import gc
import inspect
import unittest
import weakref

import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings, strategies as st
from torch.distributed.checkpoint import _nested_dict, _traverse
from torch.distributed.tensor import DTensor, Shard

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

breaks_cycles = unittest.skipUnless(
    "del _traverse_obj" in inspect.getsource(_traverse.traverse_state_dict),
    "this torch leaves a reference cycle behind each traversal, which only the garbage collector frees",
)


def _without_empty_dicts(value):
    """Return what is left of nested state once it has been flattened: a dict without a leaf leaves no trace."""
    if not isinstance(value, dict):
        return value
    items = {key: _without_empty_dicts(item) for key, item in value.items()}
    return {key: item for key, item in items.items() if not (isinstance(item, dict) and not item)}


# A dot in a key would let two paths have one name.
keys = st.text("abc_0", min_size=1, max_size=3)
leaves = st.integers() | st.floats(allow_nan=False) | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
nested_states = st.dictionaries(
    keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8), max_size=3
)


class NestedDictTest(TestCase):
    def setUp(self):
        super().setUp()
        self.weight, self.bias = torch.arange(6.0).view(2, 3), torch.tensor([7, 8])

    def assert_flattened(self, nested, leaves, paths):
        """Check names, order, paths, and that leaves are the objects themselves."""
        flat, mapping = _nested_dict.flatten_state_dict(nested)
        self.assertEqual(list(leaves), list(flat))
        for name, leaf in leaves.items():
            self.assertTrue(flat[name] is leaf, f"{name} is not the object that was flattened")
        self.assertEqual(dict(zip(leaves, paths, strict=True)), mapping)
        return flat, mapping

    def test_dicts_become_dotted_names(self):
        nested = {"model": {"layer": {"weight": self.weight, "bias": self.bias}}, "step": 3}
        leaves = {"model.layer.weight": self.weight, "model.layer.bias": self.bias, "step": nested["step"]}
        paths = [("model", "layer", "weight"), ("model", "layer", "bias"), ("step",)]
        flat, mapping = self.assert_flattened(nested, leaves, paths)
        restored = _nested_dict.unflatten_state_dict(flat, mapping)
        self.assertEqual(nested, restored, rtol=0, atol=0)
        self.assertTrue(restored["model"]["layer"]["weight"] is self.weight)

    def test_a_list_is_flattened_where_it_holds_tensors_or_dicts(self):
        plain, deep = [1, "two"], [[self.weight], {"lr": 0.5}]
        nested = {"plain": plain, "tensors": [self.bias, 4], "deep": deep}
        leaves = {
            "plain": plain,
            "tensors.0": self.bias,
            "tensors.1": nested["tensors"][1],
            "deep.0.0": self.weight,
            "deep.1.lr": deep[1]["lr"],
        }
        paths = [("plain",), ("tensors", 0), ("tensors", 1), ("deep", 0, 0), ("deep", 1, "lr")]
        flat, mapping = self.assert_flattened(nested, leaves, paths)
        self.assertEqual(nested, _nested_dict.unflatten_state_dict(flat, mapping), rtol=0, atol=0)

    def test_other_values_are_leaves(self):
        nested = {"pair": (self.weight, self.bias), "nothing": None, "empty": [], "object": object(), "set": {1}}
        self.assert_flattened(nested, nested, [(name,) for name in nested])

    def test_keys_become_text_and_mappings_dicts(self):
        nested = collections.OrderedDict({0: {1: self.weight}, "state": collections.OrderedDict(step=self.bias)})
        leaves = {"0.1": self.weight, "state.step": self.bias}
        flat, mapping = self.assert_flattened(nested, leaves, [("0", "1"), ("state", "step")])
        restored = _nested_dict.unflatten_state_dict(flat, mapping)
        self.assertEqual({"0": {"1": self.weight}, "state": {"step": self.bias}}, restored)
        self.assertEqual([dict, dict], [type(restored), type(restored["state"])])

    def test_two_paths_of_one_name_are_refused(self):
        for twice in ({"a": {"b": 1}, "a.b": 2}, {1: 1, "1": 2}, {"a": [self.bias], "a.0": 3}):
            with self.subTest(str(list(twice))), self.assertRaisesRegex(ValueError, r"duplicated flatten key (a\.|1)"):
                _nested_dict.flatten_state_dict(twice)

    def test_a_part_is_restored_with_gaps_and_without_invented_keys(self):
        nested = {"a": {"x": 1, "y": 2}, "list": [self.weight, self.bias, {"z": 3}]}
        flat, mapping = _nested_dict.flatten_state_dict(nested)
        part = {name: flat[name] for name in ("a.y", "list.2.z")}
        restored = _nested_dict.unflatten_state_dict(part, mapping)
        self.assertEqual({"a": {"y": 2}, "list": [None, None, {"z": 3}]}, restored)
        with self.assertRaisesRegex(KeyError, "unknown"):
            _nested_dict.unflatten_state_dict({"unknown": 1}, mapping)

    @settings(max_examples=50, deadline=None)
    @given(nested_states)
    def test_what_is_flattened_can_be_restored(self, nested):
        flat, mapping = _nested_dict.flatten_state_dict(nested)
        self.assertEqual([], [name for name, leaf in flat.items() if isinstance(leaf, dict)])
        self.assertEqual(_without_empty_dicts(nested), _nested_dict.unflatten_state_dict(flat, mapping))

    @breaks_cycles
    def test_tensors_are_freed_without_the_garbage_collector(self):
        self.addCleanup(gc.enable if gc.isenabled() else gc.disable)
        gc.disable()
        tensor = torch.ones(2)
        was_freed = weakref.ref(tensor)
        flat, mapping = _nested_dict.flatten_state_dict({"a": [tensor]})
        del tensor, flat, mapping
        self.assertTrue(was_freed() is None, "something still refers to the flattened tensor")


class NestedCheckpointTest(DTensorTestBase):
    @property
    def world_size(self):
        return 2

    def _nested(self, full, step):
        mesh = self.build_device_mesh()
        local = full.chunk(self.world_size)[self.rank].clone()
        sharded = DTensor.from_local(local, mesh, [Shard(0)])
        return {"model": {"layers": [{"weight": sharded}, {"bias": full[0] + 1}]}, "step": step, "betas": (0.5, step)}

    @with_comms
    @with_temp_dir
    def test_nested_state_with_shards_survives_a_checkpoint(self):
        full = torch.arange(12.0, device=self.device_type).view(4, 3)
        metadata = dcp.save(self._nested(full, 5), checkpoint_id=self.temp_dir)
        loaded = self._nested(torch.zeros_like(full), 0)
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        with agreed_between_ranks():
            layers = loaded["model"]["layers"]
            mine = full[2 * self.rank : 2 * self.rank + 2]
            self.assertTrue(torch.equal(mine, layers[0]["weight"].to_local()), "model.layers.0.weight")
            self.assertTrue(torch.equal(full[0] + 1, layers[1]["bias"]), "model.layers.1.bias")
            self.assertEqual((5, (0.5, 5)), (loaded["step"], loaded["betas"]))
        if self.rank == 0:
            names = {
                "model.layers.0.weight": ("model", "layers", 0, "weight"),
                "model.layers.1.bias": ("model", "layers", 1, "bias"),
                "step": ("step",),
                "betas": ("betas",),
            }
            self.assertEqual(set(names), set(metadata.state_dict_metadata))
            self.assertEqual(names, metadata.planner_data)


if __name__ == "__main__":
    run_tests()
