"""Every name of upstream's base classes that a subclass could override or call works as upstream's, or is refused."""

import ast
import sys
from pathlib import Path

from torch_testing_shim._cases import continuous, multi_process
from torch_testing_shim._cases.threads import multi_threaded
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._upstream.modules import source_file
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: Names that are not here -> why. Whoever asks for it gets Python's own AttributeError.
ABSENT = {
    "Event": "what a controller asks a rank for, and no rank listens: `_event_listener` is refused",
    "task_queues": "ranks are ordered by `setUp` alone",
    "completion_queues": "likewise",
    "exception_queue": "ranks tell their exceptions by themselves",
}


class Lists(TestCase):
    """Against the installed torch's source, whatever its version."""

    def names_of(self, class_name):
        tree = ast.parse(source_file("common_distributed").read_text())
        spellings = (class_name, class_name.replace("Continuous", "Continous"))  # the second until torch 2.6
        found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in spellings)
        names = set()
        for node in ast.walk(found):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node in found.body:
                names.add(node.name)
            elif (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Store)
                and any(node in ast.walk(part) for part in found.body if isinstance(part, (ast.Assign, ast.AnnAssign)))
            ):
                names.add(node.id)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) in ("self", "cls")
            ):
                names.add(node.attr)
        return names - {"_tls"}  # of generic device tests

    def test_every_name_is_here_or_refused_or_absent_for_a_reason(self):
        for ours, refused in (
            (multi_process.MultiProcessTestCase, {"_event_listener"}),
            (multi_threaded.MultiThreadedTestCase, set()),
            (continuous.MultiProcContinuousTest, set()),
        ):
            names = self.names_of(ours.__name__)
            self.assertGreater(len(names), 8)
            here = {*dir(ours), *_annotated(ours)}
            with self.subTest(ours.__name__):
                self.assertEqual(set(), names - here - refused - ABSENT.keys())
                self.assertEqual(set(), here & (refused | ABSENT.keys()))


def _annotated(cls):
    return {name for each in cls.__mro__ for name in vars(each).get("__annotations__", ())}


PROCESSES = """
from torch_testing_shim.common_distributed import TIMEOUT_OVERRIDE

class Pipes(Spawning):
    # a rank's own arguments, and a talk with the controller
    def _spawn_processes(self):
        process = torch.multiprocessing.get_context("spawn").Process
        pairs = [torch.multiprocessing.Pipe() for _ in range(self.world_size)]
        self.ends = [theirs for _, theirs in pairs]
        for pair in pairs:
            for end in pair:
                self.addCleanup(end.close)
        more = iter([ours for ours, _ in pairs])
        self._start_processes(lambda *a, args, **k: process(*a, args=(next(more), *args), **k))

    @classmethod
    def _run(cls, end, rank, test_name, file_name, parent_pipe, **kwargs):
        cls.end = end
        super()._run(rank, test_name, file_name, parent_pipe)

    def _join_processes(self, fn):
        fn()
        super()._join_processes(fn)

    def test_talk(self):
        if self.rank == self.MAIN_PROCESS_RANK:
            self.assertEqual([end.recv() for end in self.ends], ["ready 0", "ready 1"][:RANKS])
            for end in self.ends:
                end.send("go")
            self.processes[0].join(60)
            self.assertEqual(self.processes[0].exitcode, 0)
            self.assertFalse(self.processes[0].is_alive())
        else:
            self.end.send(f"ready {self.rank}")
            self.assertEqual(self.end.recv(), "go")
            self.assertEqual(torch.multiprocessing.current_process().name, f"process {self.rank}")
            self.assertIsNotNone(torch.multiprocessing.parent_process())

class Unpicklable(Spawning):
    def _start_processes(self, proc):
        super()._start_processes(lambda *a, args, **k: proc(*a, args=(lambda: None, *args), **k))

    def test_is_told(self):
        pass

class ExitCodes(Spawning):
    def _check_return_codes(self, fn, elapsed_time):
        assert 0 < elapsed_time < 60 and fn.__name__ == self._testMethodName
        self.assertEqual([p.exitcode for p in self.processes], [-6, 0])

    def test_as_planned(self):
        if self.rank == 0:
            os.abort()
        time.sleep(1.5)  # more than ranks have where another has died unexpectedly

    def test_otherwise(self):
        self.assertTrue(self.rank, "rank 0 alone fails")

class OlderExitCodes(Spawning):
    def _check_return_codes(self, elapsed_time):
        if self.processes[0].exitcode in [skip.exit_code for skip in TEST_SKIPS.values()]:
            super()._check_return_codes(elapsed_time)
        self.assertEqual([p.exitcode for p in self.processes], [3, 10])
        self.assertIn("ValueError: told", self.pid_to_pipe[self.processes[1].pid].recv())

    def test_as_planned(self):
        if self.rank == 0:
            os._exit(3)
        raise ValueError("told")

    def test_skips(self):
        self.skipTest("nobody wants this")

TIMEOUT_OVERRIDE["test_hangs"] = 3  # seconds; no other test here reaches its deadline

class Hang(Spawning):
    def _check_return_codes(self, fn, elapsed_time):
        pass

    def _get_timedout_process_traceback(self):
        super()._get_timedout_process_traceback()
        print("own look", flush=True)

    def test_hangs(self):
        if self.rank == 1:
            time.sleep(600)

class NoErrors(Spawning):
    def _check_no_test_errors(self, elapsed_time):
        super()._check_no_test_errors(elapsed_time)
        raise RuntimeError(f"asked, {[p.exitcode for p in self.processes]}")

    def setUp(self):
        super().setUp()
        self.skip_return_code_checks = [self.test_any.__wrapped__]

    def test_any(self):
        os._exit(self.rank)

class OwnWay(Spawning):
    # a way to run tests that knows nothing of this harness, and judges by exit codes
    def run_test(self, test_name, parent_pipe):
        getattr(self, test_name)()
        parent_pipe.send((self.rank, "done"))

    def test_passes(self):
        pass

    def test_fails(self):
        self.fail("seen")

class OwnJoin(OwnWay):
    def _join_processes(self, fn):
        for process in self.processes:
            process.join()
            self._check_return_codes(process)
        self.assertEqual([self.pid_to_pipe[p.pid].recv() for p in self.processes], [(0, "done"), (1, "done")])

    def _check_return_codes(self, process):
        self.assertEqual(process.exitcode, 0)

class OwnRole(Spawning):
    def join_or_run(self, fn):
        inner = super().join_or_run(fn)
        def both(*args):
            if self.rank != self.MAIN_PROCESS_RANK:
                type(self).seen = self._current_test_name()
            return inner(*args)
        return both

    def test_is_seen(self):
        self.assertEqual(self.seen, "test_is_seen")

class Terminated(Spawning):
    def _join_processes(self, fn):
        self.processes[1].terminate()
        super()._join_processes(fn)

    def test_is_ended(self):
        time.sleep(600)

class StartsByItself(Spawning):
    def _start_processes(self, proc):
        for rank in range(self.world_size):
            process = proc(target=type(self)._run, args=(rank, self._current_test_name(), self.file_name, None))
            process.start()

    def test_is_told(self):
        pass

class Listens(Spawning):
    @staticmethod
    def _event_listener(parent_pipe, signal_pipe, rank):
        pass

    def test_is_told(self):
        pass

class YStops(TestCase):
    def _should_stop_test_suite(self):
        return self._testMethodName == "test_b"

    def test_a(self):
        pass

    def test_b(self):
        pass

    def test_c(self):
        raise RuntimeError("no other test may run")
"""

#: A test -> how it ends, and what its reason says.
ENDS_OF_PROCESSES = {
    "Pipes.test_talk": (TestStatus.PASSED, ""),
    "Unpicklable.test_is_told": (TestStatus.ERROR, "^LaunchError: what rank 0 is to run cannot be pickled: "),
    "ExitCodes.test_as_planned": (TestStatus.PASSED, ""),
    "ExitCodes.test_otherwise": (TestStatus.FAILED, ""),
    "OlderExitCodes.test_as_planned": (TestStatus.PASSED, ""),
    "OlderExitCodes.test_skips": (TestStatus.SKIPPED, "nobody wants this"),
    "Hang.test_hangs": (TestStatus.ERROR, "rank 1 still ran at the deadline"),
    "NoErrors.test_any": (TestStatus.ERROR, r"asked, \[0, 1\]"),
    "OwnWay.test_passes": (TestStatus.PASSED, ""),
    "OwnWay.test_fails": (TestStatus.FAILED, "seen"),
    "OwnJoin.test_passes": (TestStatus.PASSED, ""),
    "OwnJoin.test_fails": (TestStatus.FAILED, ""),
    "OwnRole.test_is_seen": (TestStatus.PASSED, ""),
    "Terminated.test_is_ended": (TestStatus.ERROR, "rank 1 .* killed by SIGTERM"),
    "StartsByItself.test_is_told": (
        TestStatus.ERROR,
        "^LaunchError: no rank was started: StartsByItself overrides _start_processes and calls start",
    ),
    "Listens.test_is_told": (TestStatus.ERROR, "^LaunchError: Listens overrides _event_listener, which this harness"),
    "YStops.test_a": (TestStatus.PASSED, ""),
    "YStops.test_b": (TestStatus.PASSED, ""),
}

THREADS = """
from torch_testing_shim.common_distributed import TIMEOUT_OVERRIDE

TIMEOUT_OVERRIDE["test_hangs"] = 2  # seconds

class Judges(SpawningThreads):
    @classmethod
    def _check_return_codes(cls, failed_ranks, timeout, fn):
        assert timeout > 0 and fn.__name__.startswith("test_")
        found = [(rank, kind.__name__, str(error)) for rank, (kind, error, _) in failed_ranks]
        assert found == [(1, "ValueError", "seen")], found

    def test_as_planned(self):
        if self.rank == 1:
            raise ValueError("seen")

    def test_otherwise(self):
        pass

    def test_hangs(self):
        if self.rank == 1:
            time.sleep(600)

class Joins(SpawningThreads):
    @classmethod
    def _join_threads(cls, threads, fn):
        for thread in threads:
            thread.join()
        super()._join_threads(threads, fn)
        raise RuntimeError("asked")

    @property
    def _current_test_name(self):
        return self._testMethodName

    def test_any(self):
        pass

    def test_fails(self):
        self.assertEqual(self.rank, 0)

class Runs(SpawningThreads):
    @classmethod
    def _run(cls, test_name, rank, world_size, **kwargs):
        cls.ran = True
        super()._run(test_name, rank, world_size, **kwargs)

    def run_test_with_threaded_pg(self, test_name, rank, world_size):
        self.seen = True
        super().run_test_with_threaded_pg(test_name, rank, world_size)

    def test_any(self):
        self.assertTrue(self.seen and self.ran)

class OwnThreads(SpawningThreads):
    def _spawn_threads(self):
        import threading
        self.threads = [threading.Thread(target=lambda: None)]
        self.threads[0].start()

    def test_is_told(self):
        pass
"""

ENDS_OF_THREADS = {
    "Judges.test_as_planned": (TestStatus.PASSED, ""),
    "Judges.test_otherwise": (TestStatus.FAILED, ""),
    "Judges.test_hangs": (TestStatus.ERROR, "rank 1 still ran at the deadline"),
    "Joins.test_any": (TestStatus.ERROR, "asked"),
    "Joins.test_fails": (TestStatus.FAILED, "rank 1 failed"),
    "Runs.test_any": (TestStatus.PASSED, ""),
    "OwnThreads.test_is_told": (TestStatus.ERROR, "^LaunchError: OwnThreads has other threads than this harness's"),
}

KEPT = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest

class Base(MultiProcContinuousTest):
    world_size = 2

class Loop(Base):
    @classmethod
    def _worker_loop(cls, rank, world_size, rdvz_file, task_queue, completion_queue):
        cls.around = (rank, world_size)
        super()._worker_loop(rank, world_size, rdvz_file, task_queue, completion_queue)

    @classmethod
    def _run_test_given_id(cls, test_id, **kwargs):
        cls.test_id = test_id
        super()._run_test_given_id(test_id, **kwargs)

    def test_around(self):
        self.assertEqual(self.around, (self.rank, 2))
        self.assertTrue(self.test_id.endswith("Loop.test_around"))

class RunsRank(Base):
    # the hook of torch 2.6
    @classmethod
    def run_rank(cls, rank, world_size, rdvz_file=None):
        cls.around = (rank, world_size)
        super().run_rank(rank, world_size, rdvz_file)

    def test_around(self):
        self.assertEqual(self.around, (self.rank, 2))

class HasRunRank(Base):
    def run_rank(self, rank):
        return rank

    def test_own(self):
        self.assertEqual(self.run_rank(3), 3)

class OwnLoop(Base):
    # upstream's protocol, by the class itself
    @classmethod
    def _worker_loop(cls, rank, world_size, rdvz_file, task_queue, completion_queue):
        cls.rank, cls.world_size = rank, world_size
        cls._init_pg(rank, world_size, rdvz_file)
        while (test_id := task_queue.get()) is not None:
            try:
                cls._run_test_given_id(test_id)
                completion_queue.put(test_id)
            except BaseException as error:
                completion_queue.put(error)
        dist.destroy_process_group()

    @classmethod
    def _run_test_given_id(cls, test_id):
        self = cls(test_id.rpartition(".")[2])
        self.rank = cls.rank
        getattr(type(self), self._testMethodName)(self)

    def test_a(self):
        dist.barrier()

    def test_b_fails(self):
        raise ValueError("seen")

    def test_c_skips(self):
        self.skipTest("not for us")

class Starts(Base):
    started = []

    @classmethod
    def _spawn_processes(cls, world_size):
        super()._spawn_processes(world_size)
        cls.started.append(world_size)
        assert [p.rank for p in cls.processes] == [0, 1] and all(p.is_alive() for p in cls.processes)

    @classmethod
    def _get_world_size(cls, device_type):
        assert device_type == "cpu"
        return 2

    world_size = 7

    def tearDown(self):
        super().tearDown()
        assert self.started == [2]

    def test_a(self):
        self.assertEqual(dist.get_world_size(), 2)

    def test_b(self):
        self.assertEqual(dist.get_world_size(), 2)

class StartsNone(Base):
    @classmethod
    def _spawn_processes(cls, world_size):
        pass

    def test_is_told(self):
        pass

class Poisoned(Base):
    poison_pill = True

    def test_skips(self):
        raise RuntimeError("no rank may run it")
"""

ENDS_OF_KEPT = {
    "Loop.test_around": (TestStatus.PASSED, ""),
    "RunsRank.test_around": (TestStatus.PASSED, ""),
    "HasRunRank.test_own": (TestStatus.PASSED, ""),
    "OwnLoop.test_a": (TestStatus.PASSED, ""),
    "OwnLoop.test_b_fails": (TestStatus.ERROR, "ValueError: seen"),
    "OwnLoop.test_c_skips": (TestStatus.SKIPPED, "not for us"),
    "Starts.test_a": (TestStatus.PASSED, ""),
    "Starts.test_b": (TestStatus.PASSED, ""),
    "StartsNone.test_is_told": (TestStatus.ERROR, "^LaunchError: no rank was started: StartsNone._spawn_processes has"),
    "Poisoned.test_skips": (TestStatus.SKIPPED, "Poisoned.poison_pill is set"),
}

#: As files of torch 2.6 are written.
STARTS_PROCESSES = """
import sys
import torch
import torch.distributed as dist
from torch_testing_shim.common_distributed import MultiProcContinousTest

class Started(MultiProcContinousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

    @classmethod
    def run_rank(cls, rank, world_size, rdvz_file=None):
        cls.around = (rank, world_size)
        super().run_rank(rank, world_size, rdvz_file)

    def test_group(self):
        self.assertEqual((dist.get_rank(), 2), (self.rank, dist.get_world_size()))
        self.assertEqual(self.around, (self.rank, 2))

    def test_rank_1_fails(self):
        self.assertNotEqual(1, self.rank)

if __name__ == "__main__":
    torch.multiprocessing.spawn(Started.run_rank, nprocs=2, args=(2, "a file of its own"))
"""


class Hooks(SampleTestCase):
    """Each sample runs once, and every test of it is looked at."""

    def run_beside(self, hangs, body):
        """Run a sample; the test that waits for its deadline runs at the same time as the others."""
        return self.run_side_by_side(body, [hangs], ["--exclude-test", hangs])

    def check(self, run, ends):
        for test, (status, reason) in ends.items():
            with self.subTest(test):
                self.assert_status(run, test, status, reason)
        self.assertEqual(ends.keys(), run.entries.keys())
        return run

    def test_of_processes(self):
        run = self.check(self.run_beside("Hang.test_hangs", PROCESSES), ENDS_OF_PROCESSES)
        self.assertIn("own look", run.output)
        self.assertRegex(run.output, "rank 0 failed: AssertionError: .*rank 0 alone fails")
        self.assertRegex(run.output, r"rank 1:\n(.*\n)*.*in test_hangs")
        self.assertIn("no other test can run in this process after YStops.test_b", run.output)

    def test_of_spawned_processes(self):
        chosen = "Pipes.test_talk"  # one, since each rank imports torch
        run = self.run_sample(PROCESSES, chosen, RANKS="1", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.check(run, {chosen: ENDS_OF_PROCESSES[chosen]})

    def test_of_threads(self):
        self.check(self.run_beside("Judges.test_hangs", THREADS), ENDS_OF_THREADS)

    def test_of_kept_processes(self):
        self.check(self.run_sample(KEPT), ENDS_OF_KEPT)

    def test_kept_processes_that_a_file_starts(self):
        path = self.folder / "test_started.py"
        path.write_text(STARTS_PROCESSES)
        run = self.run_command(str(path))
        self.assert_status(run, "Started.test_group", TestStatus.PASSED)
        self.assert_status(run, "Started.test_rank_1_fails", TestStatus.FAILED, "rank 1 failed")
        self.assertEqual((1, 2), (run.exit_code, len(run.entries)), run.output)

    def test_a_suite_that_stops_is_no_success(self):
        run = self.run_sample(PROCESSES, "YStops")
        self.assertIn("these tests were to run and did not: YStops.test_c", run.output)
        self.assertEqual(1, run.exit_code)
        path = self.write_sample(PROCESSES)
        run = self.run_command("-m", "pytest", "-q", "-p", "no:cacheprovider", str(path), "-k", "YStops")
        self.assertRegex(run.output, "no other test can run in this process after .*test_b")
        self.assertNotEqual(0, run.exit_code)
        self.assertIn("2 passed", run.output)


if __name__ == "__main__":
    run_tests()
