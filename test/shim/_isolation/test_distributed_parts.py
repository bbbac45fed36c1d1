"""Torch.distributed's state is put back after a test: each case changes one part of it."""

import logging
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed._composable_state
import torch.distributed._shard.sharded_tensor as sharded_tensor
import torch.distributed.checkpoint.state_dict as state_dict
import torch.distributed.distributed_c10d as c10d
import torch.distributed.tensor._random
from torch.distributed.device_mesh import _mesh_resources, init_device_mesh
from torch.distributed.fsdp import _flat_param, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases

CASES = Cases()
KEPT = []


def make_mesh():
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return init_device_mesh("cpu", (1,))


@CASES.changes(lambda: [dist.is_initialized(), len(c10d._world.pg_names), c10d._world.group_count])
def process_groups():
    make_mesh()
    dist.new_group([0])


@CASES.changes(lambda: len(c10d._world.pg_coalesce_state))
def collectives_that_were_gathered():
    make_mesh()
    context = c10d._coalescing_manager()
    KEPT.append(context)
    context.__enter__()


@CASES.changes(lambda: list(_mesh_resources.mesh_stack))
def a_mesh_that_is_current():
    make_mesh().__enter__()


def cached_operators():
    in_cpp = getattr(torch._C, "_get_DTensor_sharding_propagator_cache_stats", tuple)()
    return in_cpp, DTensor._op_dispatcher.sharding_propagator.propagate_op_sharding.cache.cache_info().currsize


@CASES.changes(lambda: len(DTensor._op_dispatcher._custom_op_handlers))
def what_dtensor_does_for_operators():
    DTensor._op_dispatcher._custom_op_handlers[torch.ops.aten.relu.default] = print


@CASES.changes(cached_operators)
def how_dtensor_shards_operators():
    mesh = make_mesh()
    torch.add(distribute_tensor(torch.ones(2), mesh), 1)


@CASES.changes(lambda: torch.distributed.tensor._random._rng_tracker)
def dtensors_generator():
    torch.distributed.tensor._random._rng_tracker = "of a test"  # those of the CPU are not supported


@CASES.changes(lambda: len(sys.modules["torch.distributed.fsdp._fully_shard._fully_shard"].cls_to_fsdp_cls))
def classes_of_fsdp():
    fully_shard(torch.nn.Linear(1, 1), mesh=make_mesh())


@CASES.changes(lambda: len(torch.distributed._composable_state._module_state_mapping))
def states_of_modules():
    KEPT.append(torch.nn.Linear(1, 1))
    fully_shard(KEPT[-1], mesh=make_mesh())


@CASES.changes(lambda: len(state_dict._patched_state_dict))
def state_dicts_that_were_patched():
    state_dict._patched_state_dict.add(print)


@CASES.changes(lambda: sharded_tensor.api._sharded_tensor_current_id)
def sharded_tensors():
    sharded_tensor.api._sharded_tensor_current_id += 1


@CASES.changes(lambda: [hasattr(dist.Backend, "MADE_UP"), list(dist.Backend.backend_list), len(dist.Backend._plugins)])
def a_registered_backend():
    dist.Backend.register_backend("made_up", print, devices="cpu")


@CASES.changes(dist.get_debug_level)
def the_debug_level():
    dist.set_debug_level(dist.DebugLevel.DETAIL)


@CASES.changes(lambda: sorted(sys.modules["torch.distributed.rendezvous"]._rendezvous_handlers))
def a_way_to_meet():
    dist.register_rendezvous_handler("made-up", print)


@CASES.changes(lambda: _flat_param._warn_use_fake_reduce.cache_info().currsize)
def a_warning_that_is_shown_once():
    _flat_param._warn_use_fake_reduce(logging.getLogger("of_a_test"), "shown once")


class EachPart(TestCase):
    def test_is_put_back(self):
        self.assertEqual({}, CASES.run_forked())


if __name__ == "__main__":
    run_tests()
