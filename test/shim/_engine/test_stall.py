"""Certain deadlocks, found in what ranks tell; `test_fault_catalogue` has real ones."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from torch_testing_shim._engine.collectives import partings
from torch_testing_shim._engine.self_report import SelfReport
from torch_testing_shim._engine.stacks import Frame
from torch_testing_shim._engine.stall import _cpu_seconds, _has_children, _sleeps, is_deadlocked, standing
from torch_testing_shim._engine.waits import Wait
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collective_logs import log_of
from harness_samples import wait_until

C10D = f"{Path(torch.__file__).parent}/distributed/distributed_c10d.py"
TEST = Frame("/t/test_x.py", 3, "test_a")
SECOND = 1_000_000_000


def flight(age_seconds, timeout_seconds=1800, now=100):
    entry = {
        "process_group": ["0", "default_pg"],
        "collective_seq_id": 1,
        "profiling_name": "gloo:barrier",
        "input_sizes": [],
        "input_dtypes": [],
        "retired": False,
        "is_p2p": False,
        "time_created_ns": (now - age_seconds) * SECOND,
        "timeout_ms": timeout_seconds * 1000,
    }
    return json.dumps({"entries": [entry]})


WAITING = SelfReport(
    threads=((Frame(C10D, 1, "barrier"), TEST),),
    waits=(Wait.COLLECTIVE,),
    timeouts=(1800.0,),
    flight=flight(40),
    at_ns=100 * SECOND,
)
NATIVE = replace(WAITING, waits=(Wait.NATIVE,))


class Certain(TestCase):
    def judge(self, *reports, world_size=2, living=None, logs=()):
        ranks = dict(enumerate(reports))
        living = range(len(reports)) if living is None else living
        parted = partings(dict(enumerate(logs)))
        return is_deadlocked(ranks, living, world_size, parted, stall_seconds=30.0, allowance=300.0)

    def test_all_wait(self):
        self.assertTrue(self.judge(WAITING, WAITING))
        self.assertTrue(self.judge(WAITING, replace(WAITING, flight="")), "send and recv are not recorded")

    def test_one_that_does_not_answer(self):
        self.assertFalse(self.judge(WAITING, living=[0, 1]))

    def test_one_that_waits_for_something_else(self):
        self.assertFalse(self.judge(WAITING, replace(WAITING, waits=(Wait.UNKNOWN,))))

    def test_all_threads_have_to_wait(self):
        self.assertTrue(self.judge(WAITING, replace(WAITING, waits=(Wait.COLLECTIVE, Wait.COLLECTIVE))))
        self.assertFalse(self.judge(WAITING, replace(WAITING, waits=(Wait.COLLECTIVE, Wait.UNKNOWN))))
        self.assertTrue(
            self.judge(WAITING, replace(WAITING, waits=(Wait.NATIVE, Wait.COLLECTIVE))), "a thread of autograd's"
        )

    def test_one_inside_cpp_waits_if_a_collective_is_open_that_another_rank_has_not_entered(self):
        alike, other = log_of(0, 2, "all_reduce [3]"), log_of(1, 2, "barrier")
        for logs, is_certain in (
            ([alike, other], True),
            ([alike, log_of(1, 2)], True),
            ([alike, log_of(1, 2, "all_reduce [3]")], False),
            ([log_of(0, 2), other], False),
            ([alike, None], False),
        ):
            self.assertEqual(is_certain, self.judge(NATIVE, WAITING, logs=logs), logs)
        through = json.loads(NATIVE.flight)
        through["entries"][0]["retired"] = True
        self.assertFalse(self.judge(replace(NATIVE, flight=json.dumps(through)), WAITING, logs=[alike, other]))
        self.assertFalse(self.judge(replace(NATIVE, flight=""), WAITING, logs=[alike, other]))
        elsewhere = log_of(0, 2, "all_reduce [3]", name="7", description="tp")
        self.assertFalse(self.judge(NATIVE, WAITING, logs=[elsewhere, log_of(1, 2)]))

    def test_a_collective_that_has_just_begun(self):
        self.assertFalse(self.judge(WAITING, replace(WAITING, flight=flight(20))))

    def test_a_time_out_that_the_test_may_be_waiting_for(self):
        self.assertFalse(self.judge(WAITING, replace(WAITING, flight=flight(40, timeout_seconds=60))))
        self.assertFalse(self.judge(WAITING, replace(WAITING, timeouts=(1800.0, 60.0))))
        self.assertFalse(self.judge(WAITING, replace(WAITING, timeouts=(), flight="")), "nobody knows")

    def test_the_time_out_that_the_harness_has_set(self):
        self.assertTrue(self.judge(*[replace(WAITING, timeouts=(270.0,), flight=flight(40, 270))] * 2))

    def test_the_start_of_a_group_counts_where_nobody_can_come(self):
        start = replace(WAITING, waits=(Wait.START,), flight="")
        start = replace(start, world_sizes=(2,))
        self.assertFalse(self.judge(start, start))
        self.assertTrue(self.judge(start))
        self.assertFalse(self.judge(start, world_size=1))
        self.assertFalse(self.judge(replace(start, world_sizes=(1,))), "it waits for nobody")

    def test_a_rank_that_went_on_between_two_looks(self):
        later = replace(WAITING, at_ns=WAITING.at_ns + SECOND)
        self.assertEqual(standing(WAITING), standing(later))
        self.assertNotEqual(standing(WAITING), standing(replace(later, flight=flight(10))))
        self.assertNotEqual(standing(WAITING), standing(replace(later, threads=((Frame(C10D, 2, "barrier"), TEST),))))

    def test_no_rank_is_no_deadlock(self):
        self.assertFalse(self.judge())


class Processes(TestCase):
    def start(self, *command):
        process = subprocess.Popen(command, start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(os.killpg, process.pid, signal.SIGKILL)
        return process.pid

    def test_a_child_process_is_seen(self):
        childless = self.start("sleep", "600")
        parent = self.start("sh", "-c", "sleep 600 & wait")
        self.assertTrue(wait_until(lambda: _has_children([childless, parent])))
        self.assertFalse(_has_children([childless]))

    def test_a_process_that_could_go_on_does_not_sleep(self):
        sleeping = self.start("sleep", "600")
        busy = self.start(sys.executable, "-c", "while True: pass")
        self.assertTrue(wait_until(lambda: _sleeps(sleeping)))
        self.assertTrue(wait_until(lambda: _cpu_seconds(busy) > 0.1))
        self.assertFalse(_sleeps(busy))
        self.assertFalse(_sleeps(-1))
        script = """if True:
            import threading, time
            def run():
                while True: pass
            threading.Thread(target=run).start()
            time.sleep(600)"""
        with_busy_thread = self.start(sys.executable, "-c", script)
        self.assertTrue(wait_until(lambda: _cpu_seconds(with_busy_thread) > 0.3))
        self.assertFalse(_sleeps(with_busy_thread))

    def test_cpu_time(self):
        self.assertLess(_cpu_seconds(self.start("sleep", "600")), 1.0)
        busy = self.start(sys.executable, "-c", "while True: pass")
        self.assertTrue(wait_until(lambda: 0.1 < _cpu_seconds(busy) < 60))
        self.assertEqual(float("inf"), _cpu_seconds(-1))


if __name__ == "__main__":
    run_tests()
