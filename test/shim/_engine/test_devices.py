"""The device in use, on this machine and as torch would answer elsewhere; and in every base class, a rank has the
accelerator that was leased.

Accelerators are simulated, since a machine without one passes this test too: torch's answers are replaced, or the
sample backend's devices are used. Torch's Python device guard binds nothing, so the test checks what the harness asks
torch for.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import torch

from torch_testing_shim._cases.sharded_tensors import rank_placements
from torch_testing_shim._cases.surroundings import init_multigpu_helper
from torch_testing_shim._cases.world import default_ranks
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.backend_records import Backend, FoundBackend
from torch_testing_shim._engine.devices import (
    DeviceError,
    DeviceInUse,
    bind_rank,
    declares,
    device_in_use,
    fork_hazard,
    process_group_backend,
    rank_device,
    recorded_backend,
)
from torch_testing_shim._engine.driver import current_accelerator
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._shared.settings import Settings
from torch_testing_shim.common_distributed import at_least_x_gpu
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import NO_DEVICE_CHOSEN
from joined_samples import JoinedSampleTestCase
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


def machine_with(count, accelerator="cuda"):
    """A context in which torch finds `count` accelerators of a type."""
    return mock.patch.multiple(
        devices,
        accelerator_type=lambda: accelerator,
        accelerator_count=lambda: count,
    )


def recorded(**values):
    """A context in which a package has a record of the device "cpu", and none of another."""
    found = FoundBackend(Backend("cpu", **values), "torch-gems 1.0")
    return mock.patch.object(devices, "backend_record", {"cpu": found}.get)


class Devices(TestCase):
    def test_without_accelerator(self):
        with machine_with(0, None):
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings()))
        with machine_with(0, "cuda"):  # torch was built for one, and none is there
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings()))

    def test_with_accelerators(self):
        with machine_with(2, "xpu"):
            self.assertEqual(DeviceInUse("xpu", 2), device_in_use(Settings()))
            self.assertEqual(DeviceInUse("xpu", 2, chosen=True), device_in_use(Settings(device="xpu:1")))
            self.assertEqual(DeviceInUse("cpu", 0, chosen=True), device_in_use(Settings(device="cpu")))

    def test_device_that_cannot_be_used(self):
        with machine_with(0, None):
            with self.assertRaisesRegex(DeviceError, "device 'cuda' was asked for, but torch finds none here"):
                device_in_use(Settings(device="cuda"))
            with self.assertRaisesRegex(DeviceError, "^unknown device 'gpuu'; torch knows cpu, cuda"):
                device_in_use(Settings(device="gpuu"))

    def test_leased_accelerators_are_all_that_there_are(self):
        with machine_with(4, "xpu"):
            device = device_in_use(Settings(device_indices=(1, 3)))
            self.assertEqual(DeviceInUse("xpu", 2, indices=(1, 3)), device)
            self.assertEqual([1, 3, 1], [device.index_of(rank) for rank in range(3)])
            self.assertFalse(device.has_room_for(3))
            chosen = device_in_use(Settings(device="xpu", device_indices=(2,)))
            self.assertEqual(DeviceInUse("xpu", 1, chosen=True, indices=(2,)), chosen)
            with self.assertRaisesRegex(DeviceError, "^xpu 4 was leased to this process, but torch finds 4 here$"):
                device_in_use(Settings(device_indices=(0, 4)))
        with machine_with(0, None):
            self.assertEqual(DeviceInUse("cpu", 0), device_in_use(Settings(device_indices=(0,))))

    def test_ranks_share_the_accelerators_that_there_are(self):
        self.assertEqual([0, 1, 0], [DeviceInUse("xpu", 2).index_of(rank) for rank in range(3)])

    def test_room_for_ranks(self):
        self.assertTrue(DeviceInUse("cpu", 0).has_room_for(64))
        self.assertTrue(DeviceInUse("cuda", 4).has_room_for(4))
        self.assertFalse(DeviceInUse("cuda", 1).has_room_for(2))

    def test_ranks_may_share_devices(self):
        shared = Settings(share_devices=True, device_indices=(3,))
        with machine_with(4):
            device = device_in_use(shared)
            self.assertEqual(DeviceInUse("cuda", 1, indices=(3,), may_be_shared=True), device)
            self.assertEqual([3, 3], [device.index_of(rank) for rank in range(2)])
            self.assertEqual((True, None), (device.has_room_for(4), device.shortage(4)))
            self.assertEqual([False, True], [device.is_shared_by(ranks) for ranks in (1, 2)])
            self.assertFalse(device_in_use(Settings(share_devices=True)).is_shared_by(4))
        with machine_with(0, None):
            self.assertFalse(device_in_use(shared).is_shared_by(2))

    def test_ranks_count_where_they_share(self):
        with mock.patch.dict(os.environ, {**NO_DEVICE_CHOSEN, "TORCH_TESTING_SHIM_SHARE_DEVICES": "1"}):
            for count, ranks, of_dtensor in ((1, 4, 4), (2, 4, 4), (3, 4, 4), (8, 8, 4)):
                with machine_with(count):
                    self.assertTrue(at_least_x_gpu(count + 1))
                    self.assertEqual((ranks, of_dtensor), (default_ranks(), DTensorTestBase().world_size))
            with machine_with(0, None):
                self.assertFalse(at_least_x_gpu(1))

    def test_at_least_x_gpu(self):
        with mock.patch.dict(os.environ, NO_DEVICE_CHOSEN):
            with machine_with(1):
                self.assertEqual([True, False], [at_least_x_gpu(x) for x in (1, 2)])
            with machine_with(0, None):
                self.assertFalse(at_least_x_gpu(1))
                os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
                self.assertTrue(at_least_x_gpu(8))

    def test_backends_are_torchs(self):
        self.assertEqual("gloo", process_group_backend("cpu"))
        with self.assertRaisesRegex(DeviceError, "no process-group backend is registered for device 'vulkan'"):
            process_group_backend("vulkan")

    def test_a_recorded_backend_comes_before_torchs(self):
        self.assertIsNone(recorded_backend("cpu"))
        with recorded():
            self.assertEqual((None, "gloo"), (recorded_backend("cpu"), process_group_backend("cpu")))
        with recorded(pg_backend="cpu:gloo,meta:fake"):
            self.assertEqual("cpu:gloo,meta:fake", process_group_backend("cpu"))
        with recorded(pg_backend="fake"):
            self.assertEqual("fake", process_group_backend("cpu"))
        with (
            recorded(pg_backend="none_such"),
            self.assertRaisesRegex(
                DeviceError,
                r"^the backend record for 'cpu' \(torch-gems 1\.0\) names the process-group backend 'none_such', "
                "which torch does not know$",
            ),
        ):
            process_group_backend("cpu")

    def test_what_a_record_declares(self):
        with machine_with(0, None), recorded(capabilities=frozenset({"clock"})):
            self.assertEqual([True, False], [declares("clock"), declares("multicast_memory")])
        with machine_with(0, None), mock.patch.object(devices, "backend_record", {}.get):
            self.assertFalse(declares("clock"))

    def test_what_speaks_against_a_fork(self):
        initialized = mock.patch.object(devices, "initialized_accelerator", return_value="cpu")  # of a device recorded
        other = mock.patch.object(devices, "initialized_accelerator", return_value="xpu")
        refused = "cpu does not survive a fork, as torch-gems 1.0 says"
        hazard = "cpu has been initialized in the test process"
        with machine_with(0, None):
            for fork_safe, unused, used in ((None, None, hazard), (True, None, None), (False, refused, refused)):
                with self.subTest(fork_safe=fork_safe), recorded(fork_safe=fork_safe):
                    self.assertEqual(unused, fork_hazard())
                    with initialized:
                        self.assertEqual(used, fork_hazard())
            with recorded(fork_safe=True), other:
                self.assertEqual("xpu has been initialized in the test process", fork_hazard())

    def test_this_machine(self):
        accelerator = current_accelerator()
        expected = torch.accelerator.device_count() if accelerator is not None else 0
        self.assertEqual(expected, devices.accelerator_count())


class BaseClasses(InstalledQuartzTestCase):
    def test_each_gives_a_rank_the_accelerator_that_it_is_leased(self):
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_DEVICE_INDICES="3,1")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(11, len(run.entries))
        for test in run.entries:
            self.assert_status(run, test, TestStatus.PASSED)


ON_TWO_HOSTS = """
import socket
socket.gethostname = lambda host="host" + os.environ["RANK"]: host
from torch_testing_shim._engine.devices import bind_rank, device_in_use

class Counted(Spawning):
    @skip_if_lt_x_gpu(2)
    def test_two(self):
        self.assertEqual((2, 2, (0,)), (device_in_use().count, device_in_use().hosts, device_in_use().usable))
        self.assertEqual(torch.device("quartz", 0), bind_rank(self.rank))

    @skip_if_lt_x_gpu(3)
    def test_three(self):
        pass
"""


class Hosts(JoinedSampleTestCase, InstalledQuartzTestCase):
    """Hosts and their devices are simulated: each process of this machine says that it is on a host of its own."""

    def test_devices_of_all_hosts_count(self):
        sample = self.write_sample(ON_TWO_HOSTS)
        found = self.run_joined([[sample, "-v"]] * 2, TORCH_TESTING_SHIM_DEVICE_INDICES="0")
        self.assertEqual([0, 0], found.exit_codes, found.outputs)
        two, three = found.entries["Counted.test_two"], found.entries["Counted.test_three"]
        self.assertIs(TestStatus.PASSED, two.status, found.outputs)
        self.assertEqual(["host0", "host1"], [rank.host for rank in two.ranks])
        self.assertEqual("needs at least 3 accelerators, found 2", three.reason)


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
