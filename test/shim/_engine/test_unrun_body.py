"""A body that never ran is no pass: in ranks of every kind, under the harness's decorators, and in the test process."""

import asyncio
import functools
import re
import sys
import unittest
from pathlib import Path

from torch_testing_shim._engine.unrun_body import UnrunBodyError, checked_step, checked_test, require_plain
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

SAMPLE = """
import asyncio
from torch_testing_shim.common_distributed import MultiProcContinuousTest, spawn_threads_and_init_comms
from torch_testing_shim.common_utils import skipIfTorchDynamo
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase
from torch_testing_shim.distributed._shard.sharded_tensor import with_comms as with_sharded_comms
try:
    from torch_testing_shim.distributed.checkpoint_utils import with_checkpoint_logging
except ImportError:  # not every torch has it
    from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir as with_checkpoint_logging
from torch_testing_shim.distributed.distributed_utils import with_fake_comms

class Bodies:
    world_size = 2

    async def test_coroutine(self):
        self.fail("the body")

    def test_generator(self):
        yield
        self.fail("the body")

    async def test_async_generator(self):
        yield
        self.fail("the body")

    def test_value(self):
        return self.rank == 0

    @unittest.expectedFailure
    async def test_expected_to_fail(self):
        self.fail("the body")

    def test_cleanup(self):
        async def clean():
            self.fail("the body")

        self.addCleanup(clean)

    @unittest.expectedFailure
    def test_passes_where_it_returns_nothing(self):
        self.addCleanup(lambda: "a value")
        self.assertTrue(False)

class Processes(Bodies, Spawning): pass

class Spawned(Processes):  # of the other kinds, one is enough: each rank imports torch
    world_size = 1

class Kept(Bodies, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

class Threads(Bodies, SpawningThreads): pass

class Here(Bodies, TestCase):
    rank = 0

class Awaited(Processes, unittest.IsolatedAsyncioTestCase):
    pass

class AwaitedHere(unittest.IsolatedAsyncioTestCase):
    pass

class OfAsyncio(TestCase, unittest.IsolatedAsyncioTestCase):
    async def test_runs(self):
        await asyncio.to_thread(os.getpid)
        self.addAsyncCleanup(asyncio.sleep, 0)
        self.addCleanup(asyncio.sleep, 0)

    async def test_leaves_a_pipe(self):
        self.__class__.pipe = os.pipe()

    async def test_fails(self):
        await asyncio.sleep(0)
        self.fail("the body")

    async def test_value(self):
        return 1

class AsyncSetUp(TestCase):
    async def setUp(self):
        pass

    def test_it(self):
        pass

class SetUpYields(Processes):
    def setUp(self):
        yield

class AsyncThreadSetUp(Threads):
    async def perThreadSetUp(self):
        pass

class InComms(DTensorTestBase):
    world_size = 2

    @with_comms
    @with_temp_dir
    @with_checkpoint_logging
    async def test_coroutine(self):
        self.fail("the body")

class InShardedComms(ShardedTensorTestBase):
    world_size = 2

    @with_sharded_comms(init_rpc=False, backend="gloo")
    def test_generator(self):
        yield
        self.fail("the body")

class Decorated(TestCase):
    @with_fake_comms
    async def test_fake_comms(self):
        self.fail("the body")

    @spawn_threads_and_init_comms(world_size=2)
    async def test_threads(self):
        self.fail("the body")

    @parametrize("x", [1])
    async def test_parametrized(self, x):
        self.fail("the body")

    @parametrize("x", [1])
    def test_parametrized_value(self, x):
        return x

    @skipIfTorchDynamo()
    def test_not_dynamo(self):
        yield

    @skip_if_lt_x_gpu(0)
    async def test_not_skipped(self):
        self.fail("the body")

instantiate_parametrized_tests(Decorated)
"""

COROUTINE = r"the body of \w+ never ran: it is a coroutine"
GENERATOR = r"the body of \w+ never ran: it has a `yield`"
OF_BODIES = {
    "test_coroutine": COROUTINE,
    "test_generator": GENERATOR,
    "test_async_generator": GENERATOR,
    "test_cleanup": "the body of clean never ran: it is a coroutine",
}
OTHERS = {
    "OfAsyncio.test_value": "test_value returned 1: a test returns None",
    "AsyncSetUp.test_it": "the body of setUp never ran: it is a coroutine",
    "SetUpYields.test_value": "the body of setUp never ran: it has a `yield`",
    "AsyncThreadSetUp.test_value": "the body of perThreadSetUp never ran",
    "InComms.test_coroutine": COROUTINE,
    "InShardedComms.test_generator": GENERATOR,
    "Decorated.test_fake_comms": COROUTINE,
    "Decorated.test_threads": COROUTINE,
    "Decorated.test_parametrized_x_1": COROUTINE,
    "Decorated.test_parametrized_value_x_1": "test_parametrized_value returned 1: a test returns None",
    "Decorated.test_not_dynamo": GENERATOR,
    "Decorated.test_not_skipped": COROUTINE,
}


class UnrunBodies(SampleTestCase):
    def check(self, run):
        for kind in ("Processes", "Kept", "Threads", "Here", "Awaited"):
            for test, reason in OF_BODIES.items():
                self.assert_status(run, f"{kind}.{test}", TestStatus.ERROR, reason)
            returned = "test_value returned (True|False): a test returns None"
            self.assert_status(run, f"{kind}.test_value", TestStatus.ERROR, returned)
            passes = f"{kind}.test_passes_where_it_returns_nothing"
            self.assert_status(run, passes, TestStatus.EXPECTED_FAILURE)
            self.assert_status(run, f"{kind}.test_expected_to_fail", TestStatus.UNEXPECTED_SUCCESS)

    def test_every_kind(self):
        run = self.run_sample(SAMPLE)
        self.check(run)
        for test, reason in OTHERS.items():
            self.assert_status(run, test, TestStatus.ERROR, reason)
        self.assert_status(run, "OfAsyncio.test_runs", TestStatus.PASSED)
        self.assert_status(run, "OfAsyncio.test_fails", TestStatus.FAILED, "the body")
        if sys.version_info >= (3, 11):
            leaving = re.findall(r"torch_testing_shim: (\S+) left in the test process: (.*)", run.output)
            self.assertEqual(["OfAsyncio.test_leaves_a_pipe"], [name for name, _ in leaving], run.output)
            self.assertEqual(2, leaving[0][1].count("descriptor"))

    def test_spawned_ranks(self):
        name = "Spawned.test_coroutine"  # one, since each rank imports torch
        run = self.run_sample(SAMPLE, name, TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, name, TestStatus.ERROR, "never ran")

    def test_under_pytest(self):
        path = self.write_sample(SAMPLE)
        chosen = [f"{path}::{name}" for name in ("Threads", "Kept", "Here", "OfAsyncio", "AsyncSetUp")]
        run = self.run_command("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
        self.assertIn("UnrunBodyError: the body of test_coroutine never ran", run.output)
        passed = re.search(r"(\d+) failed, (\d+) passed, (\d+) xfailed", run.output)
        self.assertIsNotNone(passed, run.output)
        self.assertEqual(("21", "2", "3"), passed.groups(), run.output)


class Checks(TestCase):
    def test_what_is_called_gets_its_arguments(self):
        seen = []
        checked_test(lambda *args, **kwargs: seen.append((args, kwargs)))(1, x=2)
        checked_step(lambda *args, **kwargs: seen.append((args, kwargs)) or "value")(3, y=4)
        self.assertEqual([((1,), {"x": 2}), ((3,), {"y": 4})], seen)

    def test_a_value_is_shown_in_short(self):
        class Odd:
            def __repr__(self):
                raise ValueError("cannot be shown")

        for value, shown in (("x" * 1000, r"'x{79} \.\.\."), (Odd(), "a Odd")):
            with self.assertRaisesRegex(UnrunBodyError, f"^<lambda> returned {shown}: a test returns None"):
                checked_test(lambda value=value: value)()

    def test_a_coroutine_function_of_asyncio_is_awaited(self):
        class Case(unittest.IsolatedAsyncioTestCase):
            async def test_it(self):
                return None

        case = Case("test_it")
        self.assertIsNone(asyncio.run(checked_test(case.test_it, case)()))

    def test_plain_functions_are_required(self):
        require_plain(print, functools.partial(print), lambda: None)


if __name__ == "__main__":
    run_tests()
