"""Skips of whole classes and in fixtures; skips of methods by build and backend; skips that are told as passes."""

import unittest

from torch.testing._internal.common_distributed import MultiProcessTestCase, requires_gloo, requires_mpi
from torch.testing._internal.common_utils import (
    TEST_CUDA,
    TestCase,
    run_tests,
    skip_but_pass_in_sandcastle,
    skip_but_pass_in_sandcastle_if,
    skipIfRocm,
)


@unittest.skip("this class is never to run")
class SkippedTest(MultiProcessTestCase):
    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_one(self):
        self.fail("must not run")

    def test_two(self):
        self.fail("must not run")


@unittest.skipIf(not TEST_CUDA, "no CUDA")
class NeedsCudaTest(TestCase):
    def test_cuda(self):
        self.fail("must not run")


class SkipsInFixturesTest(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        raise unittest.SkipTest("nothing to set up")

    def test_one(self):
        self.fail("must not run")


class SkipsInSetUpTest(TestCase):
    def setUp(self):
        super().setUp()
        if self._testMethodName.endswith("skipped"):
            self.skipTest("as its name says")

    def test_skipped(self):
        self.fail("must not run")

    def test_kept(self):
        self.assertEqual(1 + 1, 2)


class MethodsTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @requires_gloo()
    def test_gloo(self):
        self.assertIn(self.rank, (0, 1))

    @requires_mpi()  # which no build for pip has, whereas those for CUDA have NCCL
    def test_mpi(self):
        self.fail("must not run without MPI")

    @skip_but_pass_in_sandcastle_if(True, "the condition holds")
    def test_condition(self):
        self.fail("must not run")

    @skip_but_pass_in_sandcastle_if(False, "the condition does not hold")
    def test_no_condition(self):
        self.assertIn(self.rank, (0, 1))

    @skip_but_pass_in_sandcastle("always")
    def test_always(self):
        self.fail("must not run")

    @skipIfRocm
    def test_not_on_rocm(self):
        self.assertIn(self.rank, (0, 1))


if __name__ == "__main__":
    run_tests()
