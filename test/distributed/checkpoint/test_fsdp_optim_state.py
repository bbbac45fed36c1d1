# Owner(s): ["oncall: distributed"]
"""FSDP's sharded optimizer state survives a distributed checkpoint.

PyTorch's own test of this name, with three changes: it also runs on the CPU (`allow_cpu`, FSDP's `device_id`), shards
are compared where they lie and the ranks agree on the answer, and what is compared must be there on both sides and
must not be trivial.
"""

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn as nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed.checkpoint.optimizer import load_sharded_optimizer_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.fully_sharded_data_parallel import StateDictType

from torch_testing_shim.common_distributed import skip_if_lt_x_gpu
from torch_testing_shim.common_utils import (
    instantiate_parametrized_tests,
    parametrize,
    run_tests,
)
from torch_testing_shim.distributed._tensor.common_dtensor import (
    DTensorTestBase,
    with_comms,
)
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir
from torch_testing_shim.distributed.sharded_comparison import local_shards, sharded_difference


def _about(what):
    """Put in front of a failure what it is about, so that its first line says it."""
    return lambda message: f"{what}: {message}"


class FsdpOptimStateCheckpoint(DTensorTestBase):
    def _create_model(self):
        # make weight tensor dim_0 as large as the world size for scaling test
        layer1_weight_dim = self.world_size
        layer2_weight_dim = self.world_size * 2
        layer3_weight_dim = self.world_size * 3

        class TestDummyModel(torch.nn.Module):
            def __init__(self, device_type) -> None:
                super().__init__()
                self.device_type = device_type
                self.net1 = nn.Sequential(nn.Linear(8, layer1_weight_dim), nn.ReLU())
                self.net2 = nn.Sequential(nn.Linear(layer1_weight_dim, layer2_weight_dim), nn.ReLU())
                self.net3 = nn.Sequential(nn.Linear(layer2_weight_dim, layer3_weight_dim), nn.ReLU())

            def forward(self, x):
                return self.net3(self.net2(self.net1(x)))

            def get_input(self):
                return torch.rand(8, 8, device=self.device_type)

        model = TestDummyModel(self.device_type).to(self.device_type)
        return model

    @property
    def backend(self):
        curr_backend = dist.get_default_backend_for_device(self.device_type)
        return f"cpu:gloo,{self.device_type}:{curr_backend}"

    def _shard(self, model):
        # without an accelerator, FSDP has to be told that the CPU is meant
        device_id = torch.device("cpu") if self.device_type == "cpu" else None
        return FSDP(model, device_id=device_id)

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    @with_comms
    @with_temp_dir
    @parametrize("pass_planner", [True, False])
    def test_load_sharded_optimizer_state_dict(self, pass_planner) -> None:
        CHECKPOINT_DIR = self.temp_dir
        planner = dcp.DefaultLoadPlanner() if pass_planner else None

        model = self._create_model()
        model = self._shard(model)
        optim = torch.optim.Adam(model.parameters(), lr=0.1)

        # step ahead to initialize the optimizer
        model(model.get_input()).sum().backward()
        optim.step()

        FSDP.set_state_dict_type(
            model,
            StateDictType.SHARDED_STATE_DICT,
        )
        optim_osd = FSDP.optim_state_dict(model, optim)
        self._check_not_trivial(optim_osd["state"])

        state_dict = {
            "model": model.state_dict(),
            "optim": optim_osd,
        }
        dcp.save(
            state_dict=state_dict,
            storage_writer=dcp.FileSystemWriter(CHECKPOINT_DIR),
        )

        # now load the model and ensure the values are the same
        model_2 = self._create_model()
        model_2 = self._shard(model_2)
        optim_2 = torch.optim.Adam(model_2.parameters(), lr=0.1)

        FSDP.set_state_dict_type(
            model_2,
            StateDictType.SHARDED_STATE_DICT,
        )
        # Adam lazily creates its state
        self.assertEqual(0, len(optim_2.state))

        state_dict = {
            "model": model_2.state_dict(),
            # cannot load the optimizer together with the model
        }
        dcp.load(
            state_dict=state_dict,
            storage_reader=dcp.FileSystemReader(CHECKPOINT_DIR),
        )
        model_2.load_state_dict(state_dict["model"])

        optim_state = load_sharded_optimizer_state_dict(
            model_state_dict=state_dict["model"],
            optimizer_key="optim",
            storage_reader=dcp.FileSystemReader(CHECKPOINT_DIR),
            planner=planner,
        )
        flattened_osd = FSDP.optim_state_dict_to_load(model_2, optim_2, optim_state["optim"])
        optim_2.load_state_dict(flattened_osd)
        osd_after_load = FSDP.optim_state_dict(model_2, optim_2)

        # Compare optim_state_dict prior to save and after load
        with agreed_between_ranks():
            self._compare_states(optim_osd["state"], osd_after_load["state"])
            self.assertEqual(optim_osd["param_groups"], osd_after_load["param_groups"], _about("param_groups"))

    def _compare_states(self, before_optim_state, after_optim_state):
        self.assertEqual(len(before_optim_state), len(after_optim_state), _about("number of parameters with a state"))
        for fqn, states in before_optim_state.items():
            after_states = after_optim_state.get(fqn, {})
            self.assertEqual(set(states), set(after_states), _about(f"names in the state of {fqn}"))
            for state_name, state in states.items():
                where = f"{fqn}.{state_name}"
                state2 = after_states.get(state_name)
                if isinstance(state, ShardedTensor):
                    self.assertTrue(isinstance(state2, ShardedTensor), f"{where} is no ShardedTensor after the load")
                    if difference := sharded_difference(state2, state):
                        self.fail(f"{where}: {difference}")
                else:
                    self.assertEqual(state, state2, _about(where))

    def _check_not_trivial(self, optim_state):
        """Adam has stepped once and has averaged gradients: zeros would equal any zeros."""
        with agreed_between_ranks():
            self.assertTrue(optim_state, "the optimizer has no state")
            for fqn, states in optim_state.items():
                self.assertEqual(1, int(states["step"]), _about(f"{fqn}.step"))
        averages = [shard for states in optim_state.values() for shard in local_shards(states["exp_avg"])]
        nonzero = [None] * self.world_size
        dist.all_gather_object(nonzero, sum(int(shard.count_nonzero()) for shard in averages))
        self.assertTrue(any(nonzero), "every exp_avg is zero on every rank")


instantiate_parametrized_tests(FsdpOptimStateCheckpoint)
if __name__ == "__main__":
    run_tests()
