"""The zygote: refuses to be forked beside threads, reports ends, leaves nothing, survives Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import psutil

from torch_testing_shim._engine.channel import THIS_RANK, make_channel
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.keeper_link import ForkRefusedError
from torch_testing_shim._engine.rank_outcomes import pass_outcome
from torch_testing_shim._engine.scratch import make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._engine.zygote import Zygote
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import wait_until


class Rank:
    """What the forked ranks do."""

    @classmethod
    def _run(cls, rank, method, file_name, pipe, **kwargs):
        if method == "leaves_its_group":
            subprocess.Popen(["sleep", "3600"])
            os.setpgid(0, os.getpgid(os.getppid()))
        if method == "leaves_daemons":
            subprocess.Popen(["setsid", "sh", "-c", "sleep 3600 & setsid sleep 3600 & wait"])
            time.sleep(0.2)  # until they are there
        elif method == "waits_for_a_program":
            subprocess.run(["sleep", "3600"], check=False)
        elif method != "end":
            Path(file_name).touch()
            time.sleep(3600)
        THIS_RANK.channel.send(pass_outcome(rank))


class ZygoteTest(TestCase):
    def setUp(self):
        super().setUp()
        self.scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, self.scratch)
        self.scratch.state.write_text("{}")

    def start_zygote(self, preload=()):
        zygote = Zygote.start(preload)
        self.addCleanup(zygote.close)
        return zygote

    def job(self, method, rank=0):
        return RankJob(
            __name__, __file__, "Rank", method, rank, 1, str(self.scratch.path), str(self.scratch.rendezvous)
        )

    def test_folders_of_modules_that_it_imported_go_with_it(self):
        module = self.scratch.path / "has_a_folder.py"
        module.write_text("import tempfile\nFOLDER = tempfile.TemporaryDirectory(dir=__file__[:-15])\n")
        with mock.patch("sys.path", [str(self.scratch.path), *sys.path]):
            before = set(self.scratch.path.iterdir())
            zygote = self.start_zygote(["has_a_folder"])
        wait_until(lambda: set(self.scratch.path.glob("tmp*")) - before)
        zygote.close()
        self.assertEqual(set(), {path for path in self.scratch.path.glob("tmp*") if path not in before})

    def fork(self, zygote, method="end", rank=0):
        reader, rank_end = make_channel()
        self.addCleanup(reader.close)
        try:
            return zygote.start_rank(self.job(method, rank), rank_end), reader
        finally:
            os.close(rank_end)

    def exits(self, zygote, count):
        found = []
        self.assertTrue(wait_until(lambda: found.extend(zygote.read_exits()) or len(found) >= count))
        return found

    def test_a_rank_is_forked_and_its_end_reported(self):
        zygote = self.start_zygote()
        pid, reader = self.fork(zygote, rank=2)
        (end,) = self.exits(zygote, 1)
        self.assertEqual((2, 0), (end.rank, end.exit_code))
        self.assertEqual(pass_outcome(2).status, reader.read().status)
        self.assertFalse(psutil.pid_exists(pid))

    def test_signals_reach_a_rank_and_its_children(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "sleep")
        zygote.signal(pid, signal.SIGKILL)
        (end,) = self.exits(zygote, 1)
        self.assertEqual(-signal.SIGKILL, end.exit_code)

    def test_a_signal_reaches_a_rank_that_has_left_its_group_and_what_it_left_there(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "leaves_its_group")
        self.assertTrue(wait_until(self.scratch.rendezvous.exists))
        (child,) = psutil.Process(pid).children()
        self.assertEqual(os.getpgid(zygote.pid), os.getpgid(pid))
        zygote.signal(pid, signal.SIGKILL)
        (end,) = self.exits(zygote, 1)
        self.assertEqual(-signal.SIGKILL, end.exit_code)
        self.assertFalse(child.is_running())

    def test_a_signal_to_a_rank_alone_leaves_the_program_that_it_waits_for(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "waits_for_a_program")
        rank = psutil.Process(pid)
        self.assertTrue(wait_until(lambda: [child.name() for child in rank.children()] == ["sleep"]))
        (child,) = rank.children()
        zygote.signal(pid, signal.SIGUSR2, alone=True)  # the stacks of a rank, and by default a program's end
        self.assertTrue(wait_until(lambda: "in _run" in self.scratch.stacks(0).read_text()))
        self.assertTrue(child.is_running() and rank.is_running())

    def test_when_the_last_end_is_told_nothing_is_left(self):
        zygote = self.start_zygote()
        self.fork(zygote, "leaves_daemons")
        self.exits(zygote, 1)
        self.assertEqual([], psutil.Process(zygote.pid).children(recursive=True))

    def test_the_zygote_is_one_thread_and_ignores_the_terminal(self):
        zygote = self.start_zygote(["torch._dynamo"])
        self.fork(zygote)
        self.exits(zygote, 1)
        self.assertEqual(1, psutil.Process(zygote.pid).num_threads())
        os.kill(zygote.pid, signal.SIGINT)
        self.fork(zygote)
        self.exits(zygote, 1)

    def test_preload_saves_the_ranks_the_import(self):
        self.assertEqual(1, thread_count())
        zygote = self.start_zygote(["a_module_that_is_not_there", "colorsys"])
        _, reader = self.fork(zygote)
        self.exits(zygote, 1)
        self.assertIsNotNone(reader.read())  # a missing module does no harm

    def test_close_ends_zygote_and_ranks(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "sleep")
        zygote.close()
        zygote.close()
        self.assertFalse(zygote.is_usable)
        self.assertTrue(wait_until(lambda: not psutil.pid_exists(pid), 5))
        self.assertFalse(psutil.pid_exists(zygote.pid))

    def test_a_dead_zygote_is_told(self):
        zygote = self.start_zygote()
        self.assertTrue(zygote.is_usable)
        os.kill(zygote.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not zygote.is_usable))
        with self.assertRaisesRegex(ForkRefusedError, "is gone"):
            self.fork(zygote)

    def test_refused_beside_a_thread(self):
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            with self.assertRaisesRegex(ForkRefusedError, "2 threads are running in the test process"):
                Zygote.start()
        finally:
            stop.set()
            thread.join()

    def test_no_descriptor_is_left(self):
        before = psutil.Process().num_fds()
        for _ in range(3):
            zygote = Zygote.start()
            reader, rank_end = make_channel()
            zygote.start_rank(self.job("end"), rank_end)
            os.close(rank_end)
            self.exits(zygote, 1)
            zygote.close()
            reader.close()
        self.assertEqual(before, psutil.Process().num_fds())


if __name__ == "__main__":
    run_tests()
