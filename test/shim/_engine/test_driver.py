"""The accelerator's driver never starts in the test process: others ask it. The driver is pretended, by the sample
backend, which is like CUDA's then: it leaves a thread, and does not survive a fork. Where torch is built for CUDA, its
own questions are counted by a library in the place of CUDA's driver."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import torch

from torch_testing_shim._engine import driver
from torch_testing_shim._engine.backend_records import DeviceError
from torch_testing_shim._engine.driver import Driver
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from driver_questions import count_calls, dies, raises
from harness_samples import SampleTestCase
from quartz_samples import QuartzTestCase

#: Every base class, each in its file's process with OpenBLAS's threads, which numpy starts. Numpy's use of them is
#: what a test file may do at import.
ALL_CLASSES = """
import numpy
import torch_quartz.driver
from torch_testing_shim import common_cuda, common_device_type, common_utils
from torch_testing_shim._cases.dynamo import DynamoDistributedMultiProcTestCase
from torch_testing_shim.common_distributed import DistributedTestBase, MultiProcContinuousTest
from torch_testing_shim.common_fsdp import FSDPTest, FSDPTestContinuous
from torch_testing_shim.distributed._shard.sharded_tensor import ShardedTensorTestBase
from torch_testing_shim.distributed._tensor import common_dtensor
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase

numpy.ones((300, 300)) @ numpy.ones((300, 300))
if __name__ == "__main__" or "pytest" in sys.modules:
    assert len(os.listdir("/proc/self/task")) > 1, "there are no threads of OpenBLAS's"
IMPORTED_IN = os.getpid()
FLAGS = [
    common_utils.TEST_PRIVATEUSE1, common_dtensor.DEVICE_COUNT, common_dtensor.PG_BACKEND,
    common_utils.TEST_CUDA, common_utils.TEST_MULTIACCELERATOR, common_cuda.TEST_MULTIGPU,
    bool(common_cuda.SM80OrLater), bool(common_cuda.PLATFORM_SUPPORTS_FUSED_ATTENTION),
]

class Generic(TestCase):
    def test_generic(self, device): pass

common_device_type.instantiate_device_type_tests(Generic, globals(), only_for="quartz")

class Body:
    world_size = 2

    def test_ranks_are_forked(self):
        self.assertNotEqual(IMPORTED_IN, os.getpid())
        self.assertEqual([1.0], torch.ones(1, device="quartz").tolist())

class ADTensor(Body, DTensorTestBase): pass
class ADTensorContinuous(Body, DTensorContinuousTestBase): pass
class AContinuous(Body, MultiProcContinuousTest): pass
class ADistributed(Body, DistributedTestBase): pass
class ADynamo(Body, DynamoDistributedMultiProcTestCase): pass
class AFSDP(Body, FSDPTest): pass
class AFSDPContinuous(Body, FSDPTestContinuous): pass
class AShardedTensor(Body, ShardedTensorTestBase): pass

class AMultiProcess(Body, Spawning): pass

class Threads(SpawningThreads):
    @skip_if_lt_x_gpu(2)
    def test_threads(self):  # torch's barrier would start the driver, as the device in use is to synchronize
        dist.all_reduce(torch.ones(1))

class Z(TestCase):
    def test_a_seeds(self):
        with common_utils.freeze_rng_state():
            common_utils.set_rng_seed(3)

    def test_the_driver_does_not_run_here(self):
        driver = torch_quartz.driver.DRIVER
        self.assertEqual((False, False), (driver.is_started, driver.is_lost))
"""


#: The classes that pytest and the runner run; `python FILE` runs all.
SOME = "ADTensor or Threads or Z"


class AllClasses(QuartzTestCase):
    def setUp(self):
        super().setUp()
        self.package.install()
        self.notes = self.folder / "notes"

    def environment(self, **extra):
        like_cuda = {"QUARTZ_LIKE_CUDA": str(self.notes), "OPENBLAS_NUM_THREADS": "8"}
        return super().environment(**like_cuda, **extra)

    def check(self, run, starts=10):
        self.assertEqual(0, run.exit_code, run.output)
        self.assertNotIn("spawned", run.output)
        self.assertGreater(len(self.notes.read_text().split()), starts)  # it is like CUDA: ranks have started it
        self.assert_nothing_left()

    def test_python_file(self):
        run = self.run_sample(ALL_CLASSES, "--strict-leaks")
        self.check(run)
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()}, run.output)
        self.assertEqual(13, len(run.entries))

    def test_pytest(self):
        self.write_sample(ALL_CLASSES)
        options = ("-q", "-W", "error:This process:DeprecationWarning", "-k", SOME)  # of a fork
        run = self.run_command("-m", "pytest", *options, "test_sample.py")
        self.check(run, starts=3)
        self.assertIn("6 passed", run.output)

    def test_run_test_warm(self):  # cold it is the command of `test_python_file`
        self.add_run_test()
        self.write_sample(ALL_CLASSES, "test/test_sample.py")
        run = self.run_command("run_test.py", "test_sample", "-k", SOME)
        self.check(run, starts=3)
        self.assertIn("6 passed, 0 failed", run.output)


#: CUDA's driver less the devices: notes the processes in which it is started.
LIBCUDA = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cuInit(unsigned flags) {
    FILE *notes = fopen(getenv("CUDA_NOTES"), "a");
    fprintf(notes, "%d\n", getpid());
    fclose(notes);
    return 100;  /* no device */
}

int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
static int not_initialized() { return 3; }
int cuGetProcAddress_v2(const char *, void **, int, unsigned long long, int *);

static void *find(const char *name) {
    if (!strcmp(name, "cuInit")) return cuInit;
    if (!strcmp(name, "cuDriverGetVersion")) return cuDriverGetVersion;
    if (!strcmp(name, "cuGetProcAddress")) return cuGetProcAddress_v2;
    return not_initialized;
}

int cuGetProcAddress(const char *name, void **found, int version, unsigned long long flags) {
    *found = find(name);
    return 0;
}

int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags, int *status) {
    *found = find(name);
    if (status) *status = 0;
    return 0;
}
"""
WITHOUT_DEVICES = """
import numpy
from torch_testing_shim import common_cuda, common_utils
from torch_testing_shim.common_distributed import requires_multicast_support
from torch_testing_shim.common_methods_invocations import op_db

numpy.ones((300, 300)) @ numpy.ones((300, 300))
FLAGS = [
    common_utils.TEST_CUDA, common_cuda.TEST_MULTIGPU, bool(common_cuda.SM80OrLater),
    bool(common_cuda.PLATFORM_SUPPORTS_FUSED_ATTENTION),
]

class Ranks(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_body(self):
        pass

    @skip_if_lt_x_gpu(2)
    def test_count(self):
        pass

    @requires_multicast_support()
    def test_capability(self):
        pass

class Threads(SpawningThreads):
    def test_body(self):
        with common_utils.freeze_rng_state():
            common_utils.set_rng_seed(3)
        dist.all_reduce(torch.ones(1))
"""


@unittest.skipUnless(torch.version.cuda and shutil.which("cc"), "needs a torch built for CUDA, and a C compiler")
class Cuda(SampleTestCase):
    def test_cudas_driver_is_not_started(self):
        source, notes = self.folder / "cuda.c", self.folder / "notes"
        source.write_text(LIBCUDA)
        build = ["cc", "-shared", "-fPIC", "-w", "-o", str(self.folder / "libcuda.so.1"), str(source)]
        subprocess.run(build, check=True, timeout=60)
        began = time.monotonic()
        path = str(self.write_sample(WITHOUT_DEVICES))
        process = self.start([path], LD_LIBRARY_PATH=str(self.folder), CUDA_NOTES=str(notes))
        run = self.finish(process, began)
        self.assertEqual((0, 4), (run.exit_code, len(run.entries)), run.output)
        started_in = notes.read_text().split()
        self.assertGreater(len(started_in), 0)
        self.assertNotIn(str(process.pid), started_in)
        self.assertNotIn("spawned", run.output)


class Asking(TestCase):
    """The question is not about a driver here: who is asked does not depend on it."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.calls = os.path.join(folder.name, "calls")

    def ask(self, asker):
        """Ask twice; returns the pids of those that were asked."""
        self.assertEqual("answer", asker.ask(count_calls, self.calls))
        self.assertEqual("answer", asker.ask(count_calls, self.calls))
        with open(self.calls) as calls:
            return [int(line) for line in calls]

    def test_another_process_is_asked_once(self):
        (pid,) = self.ask(Driver())
        self.assertNotEqual(os.getpid(), pid)
        with self.assertRaises(ChildProcessError):  # it has been waited for
            os.waitpid(pid, os.WNOHANG)

    def test_a_rank_asks_by_itself(self):
        asker = Driver()
        asker.may_start = True
        self.assertEqual([os.getpid()], self.ask(asker))

    def test_where_the_driver_runs_already_it_is_asked(self):
        with mock.patch.object(driver, "initialized_accelerator", return_value="quartz"):
            self.assertEqual([os.getpid()], self.ask(Driver()))

    def test_beside_a_thread_a_new_interpreter_is_asked(self):
        forks = []
        with a_thread(), mock.patch("os.fork", side_effect=lambda: forks.append(1)):
            (pid,) = self.ask(Driver())
        self.assertEqual([], forks)
        self.assertNotEqual(os.getpid(), pid)

    def test_a_device_that_only_this_process_knows_is_asked_for_here(self):
        with a_thread(), mock.patch.object(driver, "accelerator_type", return_value="agate"):
            self.assertEqual([os.getpid()], self.ask(Driver()))

    def test_who_asks_raises_or_dies(self):
        of = driver.accelerator_type()
        for beside in (contextlib.nullcontext, a_thread):
            with self.subTest(beside), beside():
                with self.assertRaisesRegex(DeviceError, f"^{of}'s driver cannot be asked: OSError: no light$"):
                    Driver().ask(raises)
                with self.assertRaisesRegex(DeviceError, f"^the process .* {of}'s driver ended with exit status 3"):
                    Driver().ask(dies)


@contextlib.contextmanager
def a_thread():
    """A context in which a thread of Python's lives."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    run_tests()
