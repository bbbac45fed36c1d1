"""Leaks are told by the test that left them, and nothing is called one that is none: real files, processes, threads."""

import sys
from pathlib import Path

from torch_testing_shim._isolation.leaks import leaks_since, take_snapshot
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: Test -> what it leaves, as a regular expression.
LEFT = {
    "test_child": r"process \d+ \(sleep 3600\)",
    "test_default_dtype": r"the default dtype \(torch.float64, was torch.float32\)",
    "test_deterministic_mode": r"deterministic mode \(True, was False\)",
    "test_file": r"descriptor \d+ \(\S*/kept\)",
    "test_process_group": r"the process group \(True, was False\)",
    "test_shared_memory": r"shared memory /dev/shm/leaks-\d+",
    "test_socket": r"descriptor \d+ \(socket:\[\d+\]\)",
    "test_thread": "thread 'lingers'",
    "test_variable": r"environment variable NEW, environment variable PATH \(removed\)",
    "test_zombie": r"process \d+ \(ended, and nobody has waited for it\)",
}
LEAKING = """
import socket, threading, warnings
from torch_testing_shim._isolation.leaks import take_snapshot
kept = []
warnings.simplefilter("ignore", ResourceWarning)

class Leaks(TestCase):
    def test_child(self):
        kept.append(subprocess.Popen(["sleep", "3600"]))
        while not open(f"/proc/{kept[-1].pid}/cmdline").read():
            time.sleep(0.01)  # Popen is a moment ahead of the child's command line

    def test_default_dtype(self):
        torch.set_default_dtype(torch.float64)

    def test_deterministic_mode(self):
        torch.use_deterministic_algorithms(True)

    def test_fails_and_leaves_a_file(self):
        kept.append(open(__file__))
        self.fail()

    def test_file(self):
        kept.append(open("kept", "w"))

    def test_process_group(self):
        import torch_testing_shim.distributed.fake_pg  # an older torch does not know the backend by itself
        dist.init_process_group("fake", rank=0, world_size=2, store=dist.HashStore())

    def test_shared_memory(self):
        kept.append(f"/dev/shm/leaks-{os.getpid()}")
        open(kept[-1], "w").close()

    def test_somebody_elses_shared_memory(self):
        name = f"/dev/shm/leaks-{os.getpid()}0"
        open(name, "w").close()
        self.addClassCleanup(os.unlink, name)

    def test_socket(self):
        kept.append(socket.socket())

    def test_thread(self):
        threading.Thread(target=time.sleep, args=(3600,), name="lingers", daemon=True).start()

    def test_variable(self):
        os.environ["NEW"] = "1"
        del os.environ["PATH"]

    def test_zombie(self):
        kept.append(subprocess.Popen([sys.executable, "-c", ""]))
        os.waitid(os.P_PID, kept[-1].pid, os.WEXITED | os.WNOWAIT)

def tearDownModule():
    for thing in kept:
        if isinstance(thing, subprocess.Popen):
            thing.kill()
            thing.wait()
        elif isinstance(thing, str):
            os.unlink(thing)
"""
#: Things that are used for the first time, changed and put back, or gone with their last reference.
TIDY = """
import multiprocessing, socket, threading
from torch_testing_shim._engine.launcher import STARTER
from unittest import mock

class Tidy(TestCase):
    def tearDown(self):
        os.environ.pop("SET_IN_SET_UP")
        super().tearDown()

    def setUp(self):
        self.addCleanup(os.environ.pop, "ADDED_BEFORE_SET_UP", None)
        super().setUp()
        os.environ["SET_IN_SET_UP"] = os.environ["ADDED_BEFORE_SET_UP"] = "1"

    def test_cycle(self):
        ends = list(socket.socketpair())
        ends.append(ends)

    def test_helpers_of_multiprocessing(self):
        queue = multiprocessing.get_context("spawn").SimpleQueue()
        queue.put(1)
        self.assertEqual(1, queue.get())
        queue._reader.close()
        queue._writer.close()

    def test_libraries_open_things(self):
        import asyncio, random, selectors
        random.SystemRandom().random()
        open("/dev/urandom", "rb").read(1)
        asyncio.run(asyncio.sleep(0))
        torch.set_num_threads(3)
        torch.rand(512, 512) @ torch.rand(512, 512)

    def test_patched(self):
        with mock.patch.dict(os.environ, A="1"), subprocess.Popen(["true"]), socket.socket():
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()

class TidyGroups(TestCase):  # torch keeps the event loop of the first group that DTensors have run in
    def run_in_a_group(self, run):
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        run()
        dist.destroy_process_group()

    def distribute(self):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Shard, distribute_tensor

        tensor = distribute_tensor(torch.ones(4), init_device_mesh("cpu", (1,)), [Shard(0)])
        self.assertEqual(torch.full((4,), 2.0), (tensor + tensor).full_tensor())

    def test_a_first(self):
        self.run_in_a_group(self.distribute)

    def test_b_second(self):
        self.run_in_a_group(self.distribute)

    def test_c_without(self):
        self.run_in_a_group(lambda: dist.all_reduce(torch.ones(1)))

class RanksTidy(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_what_ranks_leave_is_not_the_controllers(self):
        os.environ["NEW"] = "1"
        torch.set_default_dtype(torch.float64)
        self.kept = open(__file__)
        subprocess.Popen(["sleep", "3600"])

    def test_zygote_that_is_killed_is_replaced(self):
        pass

    def setUp(self):
        if "killed" in self._testMethodName:
            for pid in STARTER.kept[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        super().setUp()
"""


class Warned(SampleTestCase):
    def check_noted(self, run, test):
        (note,) = run.entries[f"Leaks.{test}"].notes
        self.assertRegex(note, f"^left in the test process: {LEFT[test]}$")

    def test_noted_by_pytest_too(self):
        run = self.run_sample(LEAKING, "--use-pytest", "Leaks.test_socket", "Leaks.test_default_dtype")
        self.assertEqual(0, run.exit_code, run.output)
        self.check_noted(run, "test_socket")
        self.check_noted(run, "test_default_dtype")

    def test_what_is_left_is_told_by_test(self):
        run = self.run_sample(LEAKING, "-b")
        self.assertEqual(1, run.exit_code, run.output)  # of the test that fails anyhow
        for test, left in LEFT.items():
            self.assert_status(run, f"Leaks.{test}", TestStatus.PASSED)
            line = rf"(?m)^torch_testing_shim: Leaks.{test} left in the test process: {left}$"
            self.assertRegex(run.output, line)
            self.check_noted(run, test)
        self.assertNotIn("somebody_elses", run.output)
        self.assertEqual(len(LEFT), run.output.count("left in the test process"), run.output)

    def test_tidy_tests_are_left_alone(self):
        of_ranks = "RanksTidy.test_what_ranks_leave_is_not_the_controllers"
        for method, chosen in (("fork", ()), ("spawn", (of_ranks,))):
            run = self.run_sample(TIDY, "--strict-leaks", *chosen, TORCH_TESTING_SHIM_START_METHOD=method)
            self.assertEqual(0, run.exit_code, run.output)
            self.assertNotIn("left in the test process", run.output)


class Strict(SampleTestCase):
    def test_by_option_and_by_variable(self):
        names = [f"Leaks.{test}" for test in LEFT]
        by_option = self.run_sample(LEAKING, "--strict-leaks", *names)
        by_variable = self.run_sample(LEAKING, *names, TORCH_TESTING_SHIM_STRICT_LEAKS="1")
        for run in (by_option, by_variable):
            self.assertEqual(1, run.exit_code, run.output)
            for test, left in LEFT.items():
                reason = f"^LeakError: Leaks.{test} left in the test process: {left}$"
                self.assert_status(run, f"Leaks.{test}", TestStatus.FAILED, reason)

    def test_with_pytest(self):
        run = self.run_sample(LEAKING, "--strict-leaks", "--use-pytest", "Leaks.test_socket", "Leaks.test_thread")
        self.assert_status(run, "Leaks.test_socket", TestStatus.FAILED, "left in the test process: descriptor")
        self.assert_status(run, "Leaks.test_thread", TestStatus.FAILED, "left in the test process: thread 'lingers'$")


class Harness(TestCase):
    def test_what_the_harness_keeps_is_no_leak(self):
        before = take_snapshot()
        with open(__file__) as file:
            (number,) = {number for number, _, _ in take_snapshot().descriptors - before.descriptors}
            self.assertEqual(file.fileno(), number)
            self.assertEqual([f"descriptor {number} ({file.name})"], leaks_since(before, (), ()))
            self.assertEqual([], leaks_since(before, (), {number}))


if __name__ == "__main__":
    run_tests()
