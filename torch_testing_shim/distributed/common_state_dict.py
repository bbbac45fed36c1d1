"""Upstream's `distributed.common_state_dict`: state dicts of distributed models held against those of a plain one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn as nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed._state_dict_utils import _gather_state_dict
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from torch_testing_shim._fused_embeddings import (
    FusionEmbedding,
    FusionEmbeddingWithHook,
    FusionEmbeddingWithModifier,
)
from torch_testing_shim._upstream.graft import served

__all__ = ["FusionEmbedding", "FusionEmbeddingWithHook", "FusionEmbeddingWithModifier", "VerifyStateDictMixin"]

__getattr__ = served(__name__)

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Keys of an optimizer's state dict.
STATE, GROUPS, PARAMS = "state", "param_groups", "params"

#: What `_verify_msd` does by itself.
DEFAULT_OPTIONS = StateDictOptions()


class VerifyStateDictMixin:
    """Assertions for a test case about distributed state dicts (upstream's `VerifyStateDictMixin`, torch 2.13).

    Comparing a sharded tensor gathers it, so all ranks call these together.
    """

    assertEqual: Callable[..., None]

    def _compare_tensor(self, orig_tensor: torch.Tensor, dist_tensor: Any, offload_to_cpu: bool = False) -> None:
        """Fails unless a tensor, which may be sharded, has the values of a plain one.

        Args:
            offload_to_cpu: both are compared on the CPU.
        """
        whole = dist_tensor
        if isinstance(dist_tensor, (DTensor, ShardedTensor)):
            whole = _gather_state_dict({"it": dist_tensor})["it"]
        if not isinstance(whole, torch.Tensor):
            raise AssertionError(f"{type(whole).__name__} is no tensor")
        pair = (orig_tensor.cpu(), whole.cpu()) if offload_to_cpu else (orig_tensor, whole)
        if not torch.allclose(*pair):
            raise AssertionError(f"the tensors differ: {pair[0]} and {pair[1]}")

    def _verify_msd(
        self,
        msd: Mapping[str, Any],
        dist_msd: Mapping[str, Any],
        options: StateDictOptions = DEFAULT_OPTIONS,
        offload_to_cpu: bool = False,
    ) -> None:
        """Fails unless a model's distributed state dict has what a plain one has.

        Args:
            msd, dist_msd: the plain state dict, and the distributed one.
            options: those that the latter was made with. Where they leave out frozen parameters, only what it lacks is
                looked at: that has to be frozen.
            offload_to_cpu: tensors are compared on the CPU.
        """
        if not options.ignore_frozen_params and len(msd) != len(dist_msd):
            raise AssertionError(f"{len(dist_msd)} entries, expected {len(msd)}")
        for name, value in msd.items():
            if name not in dist_msd:
                if not options.ignore_frozen_params or value.requires_grad:
                    raise AssertionError(f"{name} is missing")
                continue
            try:
                self._compare_tensor(value, dist_msd[name], offload_to_cpu)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error

    def _verify_osd(
        self, model: nn.Module, optim: Optimizer, osd: Mapping[str, Any], dist_osd: Mapping[str, Any]
    ) -> None:
        """Fails unless an optimizer's distributed state dict, whose parameters go by name, has what its own one has,
        whose parameters go by number.

        Args:
            model, optim: the plain model and its optimizer.
            osd, dist_osd: the optimizer's state dict, and the distributed one.
        """
        names = _names_by_number(model, optim)
        _same_keys("parameters with a state", {names[number] for number in osd[STATE]}, set(dist_osd[STATE]))
        for number, states in osd[STATE].items():
            found = dist_osd[STATE][names[number]]
            _same_keys(f"the state of {names[number]}", set(states), set(found))
            for key, value in states.items():
                self._compare_tensor(value, found[key])
        _compare_groups(osd[GROUPS], dist_osd[GROUPS], names)

    def _verify_osd_by_load(
        self, model: nn.Module, optim: Optimizer, new_optim: Optimizer, dist_osd: dict[str, Any]
    ) -> None:
        """Fails unless loading a distributed state dict into `new_optim` makes it like `optim`.

        Args:
            model: the plain model, whose parameters both have.
        """
        whole = _gather_state_dict(dist_osd)
        set_state_dict(model, new_optim, model_state_dict={}, optim_state_dict=whole)
        self.assertEqual(new_optim.state_dict(), optim.state_dict())


def _names_by_number(model: nn.Module, optim: Optimizer) -> dict[int, str]:
    """Names of the parameters by their place among those of the optimizer."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = (parameter for group in optim.param_groups for parameter in group[PARAMS])
    return {number: names[id(parameter)] for number, parameter in enumerate(ordered)}


def _same_keys(what: str, expected: set[str], found: set[str]) -> None:
    if expected != found:
        raise AssertionError(f"{what}: {sorted(found)}, expected {sorted(expected)}")


def _compare_groups(groups: list[Any], dist_groups: list[Any], names: Mapping[int, str]) -> None:
    if len(groups) < len(dist_groups) and len(groups) == 1:  # a group for each parameter, flattened and read again
        merged = [name for group in dist_groups for name in group[PARAMS]]
        dist_groups = [{**dist_groups[0], PARAMS: merged}]
    if len(groups) != len(dist_groups):
        raise AssertionError(f"{len(dist_groups)} groups of parameters, expected {len(groups)}")
    for group, found in zip(groups, dist_groups, strict=True):
        _same_keys("a group of parameters", set(group), set(found))
        expected = {**group, PARAMS: sorted(names[number] for number in group[PARAMS])}
        actual = {**found, PARAMS: sorted(found[PARAMS])}
        for key in group:
            if actual[key] != expected[key]:
                raise AssertionError(f"{key} of a group of parameters: {actual[key]}, expected {expected[key]}")
