"""A rank is bound to its device by one function: in every base class a rank has the accelerator that was leased.

The sample backend's devices are simulated, and torch's Python device guard binds nothing: what is held is what the
harness asks torch for.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import torch

from torch_testing_shim._cases.communication import init_multigpu_helper
from torch_testing_shim._cases.placements import rank_placements
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.devices import DeviceError
from torch_testing_shim._engine.rank_device import bind_rank, rank_device
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quartz_samples import InstalledQuartzTestCase

#: Each test holds that its rank was bound once, to the accelerator that is leased to it.
TESTS = """
import threading
from unittest import mock
from torch_testing_shim.common_utils import freeze_rng_state
from torch_testing_shim._cases.dynamo import (
    DynamoDistributedMultiProcTestCase, DynamoDistributedSingleProcTestCase, _dynamo_dist_per_rank_init
)
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest
from torch_testing_shim.common_fsdp import FSDPTest, FSDPTestContinuous, FSDPTestMultiThread
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase, with_comms as with_sharded_comms
from torch_testing_shim.distributed._shard.test_common import SimpleMegatronLM
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase, DTensorOpTestBase

LEASED = (3, 1)
BOUND, TAKEN = [], []
torch.quartz.set_device = TAKEN.append  # which the hook of the device's package calls in each rank
torch.accelerator.set_device_index = lambda index: BOUND.append((threading.get_ident(), index))

class Own:
    world_size = 2

    def setUp(self):
        BOUND.clear()  # threads of the next class may have the numbers of these
        super().setUp()

    def check(self):
        bound = [index for thread, index in BOUND if thread == threading.get_ident()]
        self.assertEqual([LEASED[self.rank]], bound)
        self.assertEqual(2, dist.get_world_size())

class DTensor(Own, DTensorTestBase):
    @with_comms
    def test_it(self):
        self.check()
        self.assertEqual([torch.device("quartz", LEASED[self.rank])], TAKEN)

class FSDP(Own, FSDPTest):
    def test_it(self):
        self.check()
        torch.ones(1, device="quartz")
        with mock.patch.object(torch.quartz, "get_rng_state", wraps=torch.quartz.get_rng_state) as kept:
            with freeze_rng_state():
                pass
        self.assertEqual([3, 1], [call.args[0] for call in kept.call_args_list])

class Kept(Own, MultiProcContinuousTest):
    def test_it(self):
        self.check()
        self.assertEqual(torch.device("quartz", LEASED[self.rank]), self.device)
        self.assertEqual(str(LEASED[self.rank]), os.environ["LOCAL_RANK"])

class KeptDTensor(Own, DTensorContinuousTestBase):
    def test_it(self):
        self.check()

class KeptFSDP(Own, FSDPTestContinuous):
    def test_it(self):
        self.check()

class Distributed(Own, DistributedTestBase):
    def test_it(self):
        self.assertEqual({0: [3], 1: [1]}, self.rank_to_device("quartz"))
        self.create_pg("quartz")
        self.assertEqual(torch.device("quartz", LEASED[self.rank]), torch.get_default_device())
        torch.set_default_device(None)
        self.check()

class Compiled(Own, DynamoDistributedMultiProcTestCase):
    def test_it(self):
        with _dynamo_dist_per_rank_init(self.rank, self.world_size):
            self.check()

class CompiledAlone(DynamoDistributedSingleProcTestCase):
    def test_it(self):
        self.assertEqual("quartz:3", self.device)

class Sharded(Own, ShardedTensorTestBase):
    @with_sharded_comms(init_rpc=False)
    def test_it(self):
        self.check()
        weight = SimpleMegatronLM(((2, 2), (2, 2)), rank=self.rank).fc1.weight
        self.assertEqual(torch.device("quartz", LEASED[self.rank]), weight.device)

class Threads(Own, DTensorOpTestBase):
    def test_it(self):
        self.check()

class FSDPThreads(Own, FSDPTestMultiThread):
    def test_it(self):
        self.check()
"""


class BaseClasses(InstalledQuartzTestCase):
    def test_each_gives_a_rank_the_accelerator_that_it_is_leased(self):
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_DEVICE_INDICES="3,1")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(11, len(run.entries))
        for test in run.entries:
            self.assert_status(run, test, TestStatus.PASSED)


class Machine(TestCase):
    """torch's answers are replaced, as in test_engine_devices."""

    def setUp(self):
        super().setUp()
        environment = mock.patch.dict(os.environ, TORCH_TESTING_SHIM_DEVICE_INDICES="2,0")
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("TORCH_TESTING_SHIM_DEVICE", None)

    def with_devices(self, count, accelerator="cuda"):
        return mock.patch.multiple(devices, accelerator_type=lambda: accelerator, accelerator_count=lambda: count)

    def test_accelerators_take_turns(self):
        with self.with_devices(3):
            self.assertEqual([2, 0, 2], [rank_device(rank).index for rank in range(3)])
            self.assertEqual(torch.device("cuda", 0), rank_device(1, "cuda"))
            self.assertEqual(torch.device("cpu"), rank_device(1, "cpu"))
            with mock.patch.object(torch.accelerator, "set_device_index") as bind:
                self.assertEqual((torch.device("cuda", 2), torch.device("cpu")), (bind_rank(0), bind_rank(0, "cpu")))
            bind.assert_called_once_with(2)

    def test_without_accelerators(self):
        with self.with_devices(0, None):
            self.assertEqual(torch.device("cpu"), bind_rank(3))
            wrong = "^the test runs on 'cuda', which is not there: the device in use is 'cpu'$"
            with self.assertRaisesRegex(DeviceError, wrong):
                bind_rank(3, "cuda:0")

    def test_what_tests_compute_from_ranks(self):
        with self.with_devices(3), mock.patch.dict("os.environ", TORCH_TESTING_SHIM_SHARE_DEVICES=""):
            self.assertEqual(["rank:0/cuda:2", "rank:1/cuda:0"], rank_placements(2))
            self.assertEqual({0: [2], 1: [0]}, init_multigpu_helper(2, "nccl"))
            self.assertEqual({0: [], 1: [], 2: []}, init_multigpu_helper(3, "nccl"))
        with self.with_devices(0, None):
            self.assertEqual(["rank:0/cpu"], rank_placements(1))
            self.assertEqual({0: [0], 1: [1]}, init_multigpu_helper(2, "gloo"))

    def test_rpc_sends_between_leased_devices(self):
        case = ShardedTensorTestBase()
        case.rank, case.file_name = 1, "rendezvous"
        with self.with_devices(3), mock.patch("torch.distributed.rpc.init_rpc") as connect:
            case.init_rpc()
        maps = connect.call_args.kwargs["rpc_backend_options"].device_maps
        own, other = torch.device("cuda", 0), torch.device("cuda", 2)
        there = (other, own, other, own)
        self.assertEqual({f"worker{rank}": {own: there[rank]} for rank in range(4)}, maps)


if __name__ == "__main__":
    run_tests()
