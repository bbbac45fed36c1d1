"""A package that brings a device, `sample_backend/`, goes through the whole harness, which names no device."""

import tempfile
from pathlib import Path
from unittest import mock

from harness_samples import ROOT
from process_samples import ProcessTestCase
from quartz_samples import Package, QuartzTestCase, needs_quartz

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

TESTS = """
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch_testing_shim.backends import requires_capability
from torch_testing_shim.common_device_type import Capability, instantiate_device_type_tests, requires_capabilities
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase

class Quartz(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_collectives(self):
        self.assertEqual(("quartz", "quartzlink"), (self.device_type, dist.get_backend()))
        mine = torch.full((2,), self.rank + 1.0, device=self.device_type)
        self.assertEqual("quartz", mine.device.type)
        parts = [torch.empty_like(mine) for _ in range(2)]
        dist.all_gather(parts, mine)
        self.assertEqual([[1.0, 1.0], [2.0, 2.0]], [part.tolist() for part in parts])
        dist.all_reduce(mine)
        self.assertEqual(mine, torch.full((2,), 3.0, device="quartz"))
        if self.rank == 0:
            dist.send(mine + 1, 1)
        else:
            dist.recv(mine, 0)
            self.assertEqual([4.0, 4.0], mine.tolist())

    @with_comms
    def test_sharded_tensors(self):
        whole = torch.arange(8.0, device=self.device_type).reshape(4, 2)
        sharded = distribute_tensor(whole, self.build_device_mesh(), [Shard(0)])
        self.assertEqual(("quartz", (2, 2)), (sharded.to_local().device.type, tuple(sharded.to_local().shape)))
        self.assertEqual((sharded + sharded).full_tensor(), whole * 2)

    @with_comms
    def test_gradients(self):
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1, device=self.device_type))
        model(torch.full((1, 2), float(self.rank), device=self.device_type)).sum().backward()
        self.assertEqual([[0.5, 0.5]], model.module.weight.grad.tolist())

    @with_comms
    def test_fails(self):
        ranks = torch.full((2,), float(self.rank), device=self.device_type)
        self.assertTrue(torch.equal(ranks, torch.zeros_like(ranks)), ranks)

    def test_dies(self):
        if self.rank == 1:
            os._exit(3)

    @skip_if_lt_x_gpu(5)
    def test_five_devices(self):
        self.fail("there are 4")

    @requires_capability("crystal_clock")
    def test_a_capability_that_it_has(self):
        self.assertTrue(torch.quartz.is_initialized())  # which the package's hook has done

    @requires_capability("sundial")
    def test_a_capability_that_it_does_not_have(self):
        self.fail("it does not")

class Made(TestCase):
    @requires_capabilities(Capability.dtype.bf16)
    def test_has(self, device):
        self.assertIn(device, ("cpu", "quartz:0"))

    @requires_capabilities(Capability.dtype.fp8, "crystal_clock")
    def test_lacks(self, device):
        self.fail("the CPU has no such clock, and quartz no fp8")

instantiate_device_type_tests(Made, globals())

class Kept(DTensorContinuousTestBase):
    world_size = 2

    def test_sum(self):
        ones = torch.ones(2, device=self.device_type)
        dist.all_reduce(ones)
        self.assertTrue(torch.quartz.is_initialized())
        self.assertEqual(("quartzlink", [2.0, 2.0]), (dist.get_backend(), ones.tolist()))
"""

WRONG_HOOKS = """
from dataclasses import replace
from torch_quartz.harness import backend as own

def before(rank, world_size):
    if (rank, world_size) == (1, 2):
        raise OSError("quartz 1 is dark")

def after(rank, world_size):
    if (rank, world_size) == (2, 3):
        raise OSError("quartz 2 stays lit")

backend = replace(own, pg_backend="cpu:gloo,quartz:quartzlink", before_rank=before, after_rank=after)
"""
TESTS_OF_WRONG_HOOKS = """
class One(DTensorTestBase):
    world_size = 1

    @with_comms
    def test_the_backend_is_the_records(self):
        self.assertEqual("cpu:gloo,quartz:quartzlink", self.backend)
        for device in ("cpu", "quartz"):
            ones = torch.ones(2, device=device)
            dist.all_reduce(ones)
            self.assertEqual([1.0, 1.0], ones.tolist())

class Two(DTensorTestBase):
    world_size = 2

    def test_body(self):
        print("the body runs")
        if self.rank == 1:
            self.fail("its body is not to run")

class Three(DTensorTestBase):
    world_size = 3

    def test_passes(self):
        pass

    def test_fails(self):
        self.assertNotEqual(2, self.rank)

    def test_skips(self):
        self.skipTest("not today")
"""

SPAWNED = """
from dataclasses import replace
from torch_quartz.harness import backend as own

backend = replace(own, fork_safe=False)
"""
SECOND = """
from torch_testing_shim.backends import Backend

backend = Backend("quartz")
"""


class Harness(QuartzTestCase):
    def hooked(self, text):
        """How often hooks have said in ranks of 2 that they ran, before and after, by rank."""
        said = [[f"[rank {rank}] quartz {rank} is {what} by" for what in ("taken", "left")] for rank in range(2)]
        return [tuple(text.count(each) for each in of_rank) for of_rank in said]

    def test_all_kinds_of_tests(self):
        self.package.install()
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_SHOW_OUTPUT="1")
        self.assertEqual(1, run.exit_code, run.output)
        for name in ("collectives", "sharded_tensors", "gradients", "a_capability_that_it_has"):
            self.assert_status(run, f"Quartz.test_{name}", TestStatus.PASSED)
        self.assert_status(run, "Kept.test_sum", TestStatus.PASSED)
        failed = self.assert_status(run, "Quartz.test_fails", TestStatus.FAILED, "^rank 1 failed: AssertionError")
        self.assertIn("tensor([1., 1.], device='quartz:0')", failed.detail)
        self.assertEqual([(1, 1), (1, 1)], self.hooked(failed.detail))
        died = self.assert_status(run, "Quartz.test_dies", TestStatus.ERROR, "^rank 1 .*3")
        self.assertEqual([(1, 1), (1, 0)], self.hooked(died.detail))
        for name, reason in (
            ("five_devices", "needs at least 5 accelerators, found 4"),
            ("a_capability_that_it_does_not_have", "needs 'sundial', which quartz does not have"),
        ):
            self.assert_status(run, f"Quartz.test_{name}", TestStatus.SKIPPED, f"^{reason}$")
        for name in ("CPU.test_has_cpu", "PRIVATEUSE1.test_has_quartz"):
            self.assert_status(run, f"Made{name}", TestStatus.PASSED)
        self.assert_status(
            run, "MadeCPU.test_lacks_cpu", TestStatus.SKIPPED, "^needs crystal_clock, which cpu does not"
        )
        lacks = "^needs dtype.fp8, which quartz does not"
        self.assert_status(run, "MadePRIVATEUSE1.test_lacks_quartz", TestStatus.SKIPPED, lacks)
        for before, after in self.hooked(run.output.partition("=====")[0]):
            self.assertGreaterEqual(before, 4)  # of the tests that passed; kept ranks may add theirs
            self.assertGreaterEqual(after, 4)

    def test_hooks_that_fail(self):
        self.package.install(WRONG_HOOKS)
        run = self.run_sample(TESTS_OF_WRONG_HOOKS)
        whose = r"of the backend record for 'quartz' \(torch-quartz 1\.0\) raised OSError: quartz"
        before = rf"^rank 1 errored: BackendHookError: before_rank {whose} 1 is dark$"
        after = rf"rank 2 errored: BackendHookError: after_rank {whose} 2 stays lit$"
        self.assert_status(run, "One.test_the_backend_is_the_records", TestStatus.PASSED)
        began = self.assert_status(run, "Two.test_body", TestStatus.ERROR, before)
        self.assertNotIn("its body is not to run", began.detail)
        self.assertIn('raise OSError("quartz 1 is dark")', began.detail)
        self.assert_status(run, "Three.test_passes", TestStatus.ERROR, f"^{after}")
        self.assert_status(run, "Three.test_skips", TestStatus.ERROR, f"^{after}")
        failed = self.assert_status(run, "Three.test_fails", TestStatus.FAILED, "^rank 2 failed: AssertionError")
        self.assertRegex(failed.detail, rf"\[rank 2\] after that, after_rank {whose} 2 stays lit")

    def test_through_run_test_and_spawned(self):
        self.package.install(SPAWNED)
        self.add_run_test()
        self.write_sample(
            """
            class Spawned(DTensorTestBase):
                world_size = 1

                @with_comms
                def test_sum(self):
                    ones = torch.ones(2, device=self.device_type)
                    dist.all_reduce(ones)
                    self.assertEqual(("quartz", [1.0, 1.0]), (ones.device.type, ones.tolist()))

                @skip_if_lt_x_gpu(5)
                def test_five_devices(self):
                    self.fail("there are 4")
            """,
            "test/test_sample.py",
        )
        run = self.run_command("run_test.py", "--device", "quartz", "--verbose", "test_sample")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertIn("1 passed, 0 failed, 1 skipped", run.output)
        why = "quartz does not survive a fork, as torch-quartz 1.0 says"
        self.assertIn(f"torch_testing_shim: ranks are spawned, not forked, which is slower: {why}\n", run.output)
        self.assert_nothing_left()

    def test_two_records_end_the_run(self):
        self.package.install()
        info = self.package.site / "second.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text("[torch_testing_shim.backends]\nquartz = second_record:backend\n")
        (self.package.site / "second_record.py").write_text(SECOND)
        run = self.run_sample("", TORCH_TESTING_SHIM_DEVICE="cpu")
        self.assertEqual(2, run.exit_code, run.output)
        self.assertRegex(
            run.output,
            r"\Aboth (torch-quartz 1.0 and second 2.0|second 2.0 and torch-quartz 1.0) have a backend record for "
            r"device 'quartz'\n\Z",
        )


@needs_quartz
class WarmInterpreter(ProcessTestCase):
    preload = ("torch", "torch.distributed")

    def test_it_is_not_forked_where_the_device_does_not_survive_it(self):
        site = tempfile.TemporaryDirectory(prefix="sample-backend-")
        self.addCleanup(site.cleanup)
        package = Package(Path(site.name))
        package.install(SPAWNED)
        says_how = self.write("import sys\nprint('warm' if 'torch' in sys.modules else 'cold')\n")
        with mock.patch.dict("os.environ", PYTHONPATH=package.import_path):
            run = self.run_file(says_how, is_warm=True)
        self.assertEqual("cold\n", run.output)
        why = "quartz does not survive a fork, as torch-quartz 1.0 says"
        self.assertEqual([f"test_x runs in a new interpreter: {why}"], self.said)


class NoList(TestCase):
    def test_no_file_of_the_harness_names_the_sample(self):
        files = [path for path in (ROOT / "torch_testing_shim").rglob("*") if path.suffix in (".py", ".cfg", ".j2")]
        self.assertGreater(len(files), 100)
        self.assertEqual([], [str(path) for path in files if "quartz" in path.read_text().lower()])


if __name__ == "__main__":
    run_tests()
