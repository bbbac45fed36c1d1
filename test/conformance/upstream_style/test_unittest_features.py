"""Features of unittest that files of torch use: fixtures of modules and classes, cleanups, contexts, load_tests."""

import asyncio
import contextlib
import sys
import unittest
import warnings

import torch
from torch.testing._internal.common_utils import (
    NoTest,
    TestCase,
    instantiate_parametrized_tests,
    parametrize,
    run_tests,
    skipIfTorchDynamo,
    slowTestIf,
)

EVENTS = []


def setUpModule():
    EVENTS.append("module")
    unittest.addModuleCleanup(EVENTS.clear)


def tearDownModule():
    EVENTS.append("module's end")


class FixturesTest(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.resource = cls.enterClassContext(contextlib.nullcontext("open")) if sys.version_info >= (3, 11) else "open"
        cls.addClassCleanup(EVENTS.append, "class")

    @classmethod
    def tearDownClass(cls):
        EVENTS.append("class's end")
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.addCleanup(EVENTS.append, self._testMethodName)

    def tearDown(self):
        self.assertEqual(self.resource, "open")
        super().tearDown()

    def test_module_is_set_up(self):
        self.assertIn("module", EVENTS)

    def test_names(self):
        """The first line is the description."""
        self.assertTrue(self.id().endswith("FixturesTest.test_names"))
        self.assertEqual(self.shortDescription(), "The first line is the description.")
        self.assertEqual(str(self).partition(" ")[0], "test_names")

    def test_contexts(self):
        with self.assertWarns(DeprecationWarning), contextlib.ExitStack() as stack:
            stack.callback(warnings.warn, "old", DeprecationWarning, 2)
        with self.assertRaises(ValueError) as caught:
            raise ValueError("so")
        self.assertEqual(str(caught.exception), "so")

    def test_subtests(self):
        for number in range(4):
            with self.subTest("numbers", number=number):
                if number == 2:
                    self.skipTest("two")
                self.assertLess(number, 3)

    def test_cleanup_fails(self):
        self.addCleanup(self.fail, "in a cleanup")

    def test_tear_down_after_failure(self):
        self.resource = "open"
        self.fail("so")

    @unittest.skipUnless(hasattr(unittest, "no_such_thing"), "not there")
    def test_skipped(self):
        self.fail("is skipped")

    @slowTestIf(True)
    def test_slow(self):
        self.fail("is not asked for")

    @slowTestIf(False)
    @skipIfTorchDynamo()
    def test_not_slow(self):
        self.assertCountEqual([1, 2], [2, 1])


class TearDownFailsTest(TestCase):
    def tearDown(self):
        super().tearDown()
        if self._testMethodName == "test_broken":
            raise RuntimeError("in tearDown")

    def test_broken(self):
        pass

    def test_whole(self):
        pass


class SetUpFailsTest(TestCase):
    def setUp(self):
        super().setUp()
        if "skips" in self._testMethodName:
            raise unittest.SkipTest("in setUp")
        raise RuntimeError("in setUp")

    def test_errs(self):
        self.fail("is not reached")

    def test_skips(self):
        self.fail("is not reached")


class WithoutSuperTest(TestCase):
    """Sets up nothing of its base, as files do."""

    def setUp(self):
        self.value = 3

    def tearDown(self):
        del self.value

    def test_value(self):
        self.assertEqual(self.value, 3)
        self.assertEqual(torch.ones(1), torch.ones(1))


class AsyncTest(TestCase, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.value = await asyncio.sleep(0, "ready")

    async def test_awaited(self):
        self.assertEqual(await asyncio.sleep(0, self.value), "ready")

    async def test_fails(self):
        self.assertEqual(await asyncio.sleep(0, self.value), "not ready")


class Mixin:
    def test_mixed_in(self):
        self.assertEqual(self.number, 2)


class MixedTest(Mixin, TestCase):
    number = 2


class MixedWrongTest(Mixin, TestCase):
    number = 3


class Helper(NoTest):
    def test_nothing(self):
        raise AssertionError("is no test")


class ChosenTest(TestCase):
    @parametrize("number", [1, 2])
    def test_kept(self, number):
        self.assertGreater(number, 0)

    def test_left_out(self):
        self.fail("load_tests leaves it out")


instantiate_parametrized_tests(ChosenTest)


def load_tests(loader, tests, pattern):
    chosen = unittest.TestSuite()
    for group in tests:
        for test in group:
            if not test.id().endswith("test_left_out"):
                chosen.addTest(test)
    return chosen


if __name__ == "__main__":
    run_tests()
