"""`DTensorTestBase` and `with_comms`, bare and with arguments, as upstream documents them."""

import sys
import unittest
from pathlib import Path

from torch_testing_shim._cases import dtensor
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import with_comms

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness_samples import SampleTestCase


class DTensorBase(SampleTestCase):
    def test_what_tests_reach(self):
        run = self.run_sample(
            """
            from torch.distributed.checkpoint.api import CheckpointException
            from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

            class Base(DTensorTestBase):
                @with_comms
                def test_process_group(self):
                    self.assertEqual(dist.get_rank(), self.rank)
                    self.assertEqual(dist.get_world_size(), self.world_size)
                    self.assertEqual(self.world_size, 4)
                    self.assertEqual(dist.get_backend(), "gloo")
                    self.assertEqual((self.device_type, self.backend), ("cpu", "gloo"))
                    self.assertFalse(self.is_local_tensor_enabled)

                @with_comms
                def test_mesh_and_dtensor(self):
                    whole = torch.arange(8.0)
                    sharded = distribute_tensor(whole, self.build_device_mesh(), [Shard(0)])
                    self.assertEqual(sharded.to_local(), whole[2 * self.rank : 2 * self.rank + 2])
                    self.assertEqual(sharded.full_tensor(), whole)

                @with_comms
                def test_dtensors_that_are_placed_differently(self):
                    mesh = self.build_device_mesh()
                    sharded = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)])
                    replicated = sharded.redistribute(placements=[Replicate()])
                    self.assertEqual(sharded, replicated)
                    with self.assertRaisesRegex(AssertionError, "Mismatched elements: 8 / 8"):
                        self.assertEqual(sharded, replicated + 1)
                    one, other = torch.full((2,), 1.0 * self.rank), torch.full((2,), 1.5)
                    self.assertEqual(*(DTensor.from_local(addend, mesh, [Partial()]) for addend in (one, other)))

                @with_comms
                def test_seed_of_rank(self):
                    self.init_manual_seed_for_rank()
                    drawn = [None] * 4
                    dist.all_gather_object(drawn, torch.rand(1).item())
                    self.assertEqual(len(set(drawn)), 4)

                @with_comms(eager_init=True, backend="cpu:gloo")
                def test_arguments(self):
                    dist.barrier()
                    self.assertEqual(dist.get_backend(), "cpu:gloo")

                @with_comms(backend="fake")
                def test_other_backend(self):
                    self.assertEqual(dist.get_backend(), "fake")

                def test_without_comms(self):
                    self.assertFalse(dist.is_initialized())

                @with_comms
                @parametrize("a", [1, 2])
                @parametrize("b", [True, False])
                def test_nested(self, a, b):
                    self.assertEqual(type(self)._tests_seen(self), (a, b))

                @staticmethod
                def _tests_seen(self):
                    _, _, a, _, b = self._testMethodName.rsplit("_", 4)
                    return int(a), b == "True"

                def test_groups_one_after_the_other(self):
                    for _ in range(2):
                        self._sums_up()
                        self.assertFalse(dist.is_initialized())

                @with_comms
                def _sums_up(self):
                    total = torch.ones(1)
                    dist.all_reduce(total)
                    self.assertEqual(total, torch.full((1,), 4.0))

                @with_comms
                def test_an_error_that_is_no_exception_closes_the_connection_too(self):
                    if self.rank == 1:
                        self.addCleanup(lambda: print("initialized:", dist.is_initialized(), flush=True))
                        raise CheckpointException("not an Exception", {})
                    dist.barrier()

            class Hooks(DTensorTestBase):
                world_size = 2

                def init_pg(self, eager_init, backend=None):
                    self.seen = (eager_init, backend)
                    super().init_pg(eager_init, backend)

                def destroy_pg(self, device_id=None):
                    super().destroy_pg(device_id)
                    assert not dist.is_initialized()
                    print("destroyed", flush=True)
                    os._exit(0 if self.seen == (False, "gloo") else 4)

                @with_comms(backend="gloo")
                def test_overridden_hooks(self):
                    pass

            class Repeated(DTensorTestBase):
                backend = "cpu:gloo,cpu:gloo"

                @with_comms
                def test_repeated_device(self):
                    dist.barrier()

            instantiate_parametrized_tests(Base)
            """
        )
        passing = [
            "process_group",
            "mesh_and_dtensor",
            "dtensors_that_are_placed_differently",
            "seed_of_rank",
            "arguments",
            "other_backend",
            "without_comms",
        ]
        passing.append("groups_one_after_the_other")
        passing += [f"nested_a_{a}_b_{b}" for a in (1, 2) for b in (True, False)]
        for name in passing:
            with self.subTest(name):
                self.assert_status(run, f"Base.test_{name}", TestStatus.PASSED)
        self.assert_status(run, "Repeated.test_repeated_device", TestStatus.PASSED)
        name = "Base.test_an_error_that_is_no_exception_closes_the_connection_too"
        entry = self.assert_status(run, name, TestStatus.ERROR, "rank 1 errored: CheckpointException")
        self.assertIn("initialized: False", entry.detail)
        # The hook ends the process before the test could be reported: the exit code shows that it saw its arguments.
        reason = "died: exit code 0, without finishing"
        self.assert_status(run, "Hooks.test_overridden_hooks", TestStatus.ERROR, reason)

    def test_a_world_size_a_seed_and_local_variables_for_the_run(self):
        run = self.run_sample(
            """
            class Open(DTensorTestBase):
                @with_comms
                def test_size_and_seed(self):
                    self.assertEqual((2, 2), (self.world_size, dist.get_world_size()))
                    drawn = torch.rand(1)
                    self.assertEqual(drawn, torch.rand(1, generator=torch.Generator().manual_seed(7)))

                def test_fails(self):
                    clue = f"{self.rank} of {self.world_size}"
                    self.fail("text")

            class Plain(MultiProcessTestCase):
                def setUp(self):
                    super().setUp()
                    self._spawn_processes()

                def test_size(self):
                    self.assertEqual(2, self.world_size)

            class Fixed(Plain):
                world_size = 3

                def test_size(self):
                    self.assertEqual(3, self.world_size)
            """,
            "--seed",
            "7",
            "--showlocals",
            WORLD_SIZE="2",
        )
        for test in ("Open.test_size_and_seed", "Plain.test_size", "Fixed.test_size"):
            self.assert_status(run, test, TestStatus.PASSED)
        profile = r"(PYTORCH_HYPOTHESIS_PROFILE=\w+ )?"  # on CI
        chosen = "TORCH_TESTING_SHIM_DEVICE=cpu WORLD_SIZE=2 TORCH_TESTING_SHIM_SEED=7"
        again = rf"    {chosen} {profile}python \S*test_sample.py Open.test_fails\n"
        detail = self.assert_status(run, "Open.test_fails", TestStatus.FAILED).detail
        self.assertRegex(detail, again)
        self.assertEqual([1, 1], [detail.count(f"clue = '{rank} of 2'") for rank in (0, 1)])

    def test_sixty_four_ranks(self):
        run = self.run_sample(
            """
            class Many(DTensorTestBase):
                world_size = 64

                @with_comms
                def test_all_reduce(self):
                    total = torch.ones(1)
                    dist.all_reduce(total)
                    self.assertEqual(total, torch.full((1,), 64.0))
            """
        )
        self.assert_status(run, "Many.test_all_reduce", TestStatus.PASSED)


class WithComms(TestCase):
    def test_a_case_without_init_pg_runs_as_it_is(self):
        class Plain(unittest.TestCase):
            @with_comms
            def test_bare(self):
                self.seen = "bare"

            @with_comms(eager_init=True)
            def test_arguments(self):
                self.seen = "arguments"

        for name in ("bare", "arguments"):
            case = Plain(f"test_{name}")
            getattr(case, f"test_{name}")()
            self.assertEqual(name, case.seen)

    def test_order_of_setting_up_and_destroying(self):
        events = []

        class Case:
            def init_pg(self, eager_init, backend):
                events.append(("init", eager_init, backend))

            def destroy_pg(self):
                events.append("destroy")

            @with_comms(True, "gloo")
            def test(self, value):
                events.append(value)

        Case().test(value=3)
        self.assertEqual([("init", True, "gloo"), 3, "destroy"], events)

    def test_backend_strings(self):
        unrepeated = dtensor._without_repeats
        self.assertEqual("gloo", unrepeated("gloo"))
        self.assertEqual("cpu:gloo", unrepeated("cpu:gloo,cpu:gloo"))
        self.assertEqual("cpu:gloo,npu:hccl", unrepeated("cpu:gloo,npu:hccl"))
        with self.assertRaisesRegex(ValueError, "names two backends for cpu"):
            unrepeated("cpu:gloo,cpu:mpi")


if __name__ == "__main__":
    run_tests()
