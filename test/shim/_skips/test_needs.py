"""A backend that torch does not know is an error, one that cannot be had here is a skip: in every base class, and
before a rank starts wherever the class says which it wants."""

import os
import sys
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from torch_testing_shim._engine import devices
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._skips.needs import missing_backend
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import NO_DEVICE_CHOSEN, SampleTestCase

TESTS = """
from torch_testing_shim._cases.dynamo import DynamoDistributedMultiProcTestCase, _dynamo_dist_per_rank_init
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase, with_comms as with_sharded_comms

class Two:
    world_size = 2

    @classmethod
    def _run(cls, *args, **kwargs):
        print("ranks of", cls.__name__, "start", file=open(os.path.join(os.path.dirname(__file__), "started"), "a"))
        super()._run(*args, **kwargs)

class Kept(Two, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "golo"

    def test_misspelled(self):
        self.fail("must not be lost")

class KeptNccl(Kept):
    @classmethod
    def backend_str(cls):
        return "cpu:gloo,cuda:nccl"

    def test_misspelled(self):
        self.fail("there is no accelerator")

class KeptOnCuda(Two, MultiProcContinuousTest):
    @classmethod
    def device_type(cls):
        return "cuda"

    def test_its_device(self):
        self.fail("there is no accelerator")

class DTensorOnCuda(Two, DTensorTestBase):
    device_type, backend = "cuda", "gloo"

    @with_comms
    def test_its_device(self):
        self.fail("there is no accelerator")

class DTensor(Two, DTensorTestBase):
    @with_comms(backend="golo")
    def test_misspelled(self):
        self.fail("must not be lost")

    @with_comms(backend="nccl")
    def test_accelerators_backend(self):
        self.fail("there is no accelerator")

class DTensorNccl(Two, DTensorTestBase):
    backend = "nccl"

    @with_comms
    def test_accelerators_backend(self):
        self.fail("there is no accelerator")

    @with_comms(backend="gloo")
    def test_another(self):
        pass

    def test_by_itself(self):
        self.init_pg()

class OwnDevice(Two, DTensorTestBase):
    device_type = "cuda"

    @with_comms
    def test_its_backend(self):
        self.fail("there is no accelerator")

class Sharded(Two, ShardedTensorTestBase):
    @with_sharded_comms(init_rpc=False, backend="golo")
    def test_misspelled(self):
        self.fail("must not be lost")

class Distributed(Two, DistributedTestBase):
    def test_its_backend(self):
        self.create_pg("cuda")

class Compiled(Two, DynamoDistributedMultiProcTestCase):
    def test_its_backend(self):
        with _dynamo_dist_per_rank_init(self.rank, self.world_size, "nccl"):
            self.fail("there is no accelerator")
"""


class BaseClasses(SampleTestCase):
    def test_unknown_and_unavailable_backends(self):
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_DEVICE="cpu")
        unknown = "^ValueError: torch does not know the process-group backend 'golo'; it knows gloo, "
        for test in ("Kept", "DTensor", "Sharded"):
            self.assert_status(run, f"{test}.test_misspelled", TestStatus.ERROR, unknown)
        missing = "^needs at least 2 accelerators, found 0$"
        for test in (
            "KeptNccl.test_misspelled",
            "DTensor.test_accelerators_backend",
            "DTensorNccl.test_accelerators_backend",
            "DTensorNccl.test_by_itself",
            "OwnDevice.test_its_backend",
            "Distributed.test_its_backend",
            "Compiled.test_its_backend",
        ):
            self.assert_status(run, test, TestStatus.SKIPPED, missing)
        for test in ("KeptOnCuda.test_its_device", "DTensorOnCuda.test_its_device"):
            self.assert_status(run, test, TestStatus.SKIPPED, "^needs at least 2 cuda, found 0$")
        self.assert_status(run, "DTensorNccl.test_another", TestStatus.PASSED)
        started = {line.split()[2] for line in (self.folder / "started").read_text().splitlines()}
        self.assertEqual({"DTensorNccl", "Distributed", "Compiled"}, started)  # which say it in their tests


class Machine(TestCase):
    """torch's answers are replaced, as in test_engine_devices."""

    def setUp(self):
        super().setUp()
        environment = mock.patch.dict(os.environ, NO_DEVICE_CHOSEN)
        environment.start()
        self.addCleanup(environment.stop)

    def missing(self, backend, count=0, accelerator="cuda", ranks=4):
        answers = mock.patch.multiple(devices, accelerator_type=lambda: accelerator, accelerator_count=lambda: count)
        with answers, mock.patch.object(dist, "is_backend_available", lambda name: name != "mpi"):
            return missing_backend(backend, ranks)

    def test_accelerators_are_counted(self):
        self.assertEqual("needs at least 4 accelerators, found 3", self.missing("nccl", 3))
        self.assertEqual("needs at least 4 accelerators, found 0", self.missing("cpu:gloo,cuda:NCCL", 8, "xpu"))
        self.assertIsNone(self.missing("cpu:gloo,cuda:nccl", 4))
        self.assertIsNone(self.missing("cpu:gloo,cuda:gloo"))
        os.environ["TORCH_TESTING_SHIM_MAP_DEVICE"] = "cuda=cpu"
        self.assertIsNone(self.missing("nccl"))

    def test_a_build_without_it(self):
        self.assertEqual("the backend mpi is not available", self.missing("mpi"))

    def test_none_is_torchs_choice(self):
        self.assertIsNone(self.missing(None))

    def test_unknown(self):
        with self.assertRaisesRegex(ValueError, "^torch does not know the process-group backend 'golo'; it knows gloo"):
            self.missing("cuda:nccl,cpu:golo")


if __name__ == "__main__":
    run_tests()
