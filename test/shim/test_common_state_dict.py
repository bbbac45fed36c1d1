"""`VerifyStateDictMixin` finds what differs between a distributed and a plain state dict; the fused embeddings."""

import copy

import torch
import torch.nn as nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    _iterate_valid_model_state,
    get_model_state_dict,
    get_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.common_state_dict import (
    FusionEmbedding,
    FusionEmbeddingWithHook,
    FusionEmbeddingWithModifier,
    VerifyStateDictMixin,
)


class Verify(DTensorTestBase, VerifyStateDictMixin):
    world_size = 2

    def _step(self, model):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        return optimizer

    def _models(self):
        """A plain model and the same one sharded, after one step each, with their optimizers."""
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        sharded = copy.deepcopy(plain)
        fully_shard(sharded, mesh=self.build_device_mesh())
        return plain, self._step(plain), sharded, self._step(sharded)

    def _told(self, text):
        return self.assertRaisesRegex(AssertionError, text)

    @with_comms
    def test_tensors(self):
        whole = torch.arange(4.0)
        shards = distribute_tensor(whole, self.build_device_mesh(), [Shard(0)])
        self._compare_tensor(whole, shards)
        self._compare_tensor(whole, shards, offload_to_cpu=True)
        with self._told("the tensors differ"):
            self._compare_tensor(whole + 1, shards)
        with self._told("int is no tensor"):
            self._compare_tensor(whole, 3)

    @with_comms
    def test_models(self):
        plain, _, sharded, _ = self._models()
        expected, found = plain.state_dict(), get_model_state_dict(sharded)
        self._verify_msd(expected, found)
        with self._told("1.bias: the tensors differ"):
            self._verify_msd({**expected, "1.bias": expected["1.bias"] + 1}, found)
        with self._told("4 entries, expected 5"):
            self._verify_msd({**expected, "2.bias": expected["1.bias"]}, found)
        less = {name: value for name, value in found.items() if name != "1.bias"}
        renamed = {**less, "other": found["1.bias"]}
        with self._told("1.bias is missing"):
            self._verify_msd(expected, renamed)

    @with_comms
    def test_frozen_parameters_may_be_missing(self):
        plain = nn.Linear(4, 2)
        plain.bias.requires_grad_(False)
        expected = dict(plain.named_parameters())
        options = StateDictOptions(ignore_frozen_params=True)
        self._verify_msd(expected, {"weight": plain.weight}, options)
        with self._told("weight is missing"):
            self._verify_msd(expected, {"bias": plain.bias}, options)

    @with_comms
    def test_optimizers(self):
        plain, optimizer, sharded, sharded_optimizer = self._models()
        expected, found = optimizer.state_dict(), get_optimizer_state_dict(sharded, sharded_optimizer)
        self._verify_osd(plain, optimizer, expected, found)
        changed = copy.deepcopy(expected)
        changed["state"][0]["exp_avg"] += 1
        with self._told("the tensors differ"):
            self._verify_osd(plain, optimizer, changed, found)
        changed = copy.deepcopy(expected)
        changed["param_groups"][0]["lr"] = 0.5
        with self._told("lr of a group of parameters"):
            self._verify_osd(plain, optimizer, changed, found)
        del changed["state"][3]
        with self._told("parameters with a state"):
            self._verify_osd(plain, optimizer, changed, found)
        each = [{**found["param_groups"][0], "params": [name]} for name in found["param_groups"][0]["params"]]
        self._verify_osd(plain, optimizer, expected, {**found, "param_groups": each})
        with self._told("0 groups of parameters, expected 1"):
            self._verify_osd(plain, optimizer, expected, {**found, "param_groups": []})

    @with_comms
    def test_optimizers_by_load(self):
        plain, optimizer, sharded, sharded_optimizer = self._models()
        found = get_optimizer_state_dict(sharded, sharded_optimizer)
        new = torch.optim.Adam(plain.parameters(), lr=0.2)
        self._verify_osd_by_load(plain, optimizer, new, found)
        optimizer.state_dict()["state"][0]["exp_avg"].add_(1)
        with self.assertRaises(AssertionError):
            self._verify_osd_by_load(plain, optimizer, torch.optim.Adam(plain.parameters(), lr=0.2), found)


class Fused(TestCase):
    def test_plain(self):
        model = FusionEmbedding(5, 3, 2)
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        self.assertEqual({"embedding.weight": (5, 2), "fusion_embedding.weight": (3, 2)}, shapes)

    def test_old_name_in_state_dicts(self):
        for model_class in (FusionEmbeddingWithHook, FusionEmbeddingWithModifier):
            model, other = model_class(5, 3, 2), model_class(5, 3, 2)
            saved = nn.ModuleDict({"inner": model}).state_dict()
            self.assertEqual({"inner.weight", "inner.fusion_embedding.weight"}, set(saved))
            nn.ModuleDict({"inner": other}).load_state_dict(saved)
            self.assertEqual(model.embedding.weight, other.embedding.weight)

    def test_torch_is_told_of_the_old_name(self):
        """torch walks a model for its distributed state dict; where it is told, it finds the state dict's names."""
        for model_class, is_told in ((FusionEmbeddingWithHook, False), (FusionEmbeddingWithModifier, True)):
            model = model_class(5, 3, 2)
            found = {name for name, _ in _iterate_valid_model_state(model)}
            self.assertEqual(is_told, found == set(get_model_state_dict(model)))


if __name__ == "__main__":
    run_tests()
