"""Where a rank stands, read off stacks in faulthandler's form, and what its threads wait for."""

import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.nn.parallel import DistributedDataParallel

import torch_testing_shim
from torch_testing_shim._engine.self_report import ask, read_reports
from torch_testing_shim._engine.stacks import ENTRY, Frame, Place, Wait, main_thread, place_of, stacks_text, wait_of
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import FOREVER, SOON, StuckRanksTestCase

TORCH = Path(torch.__file__).parent

DISTRIBUTED = f"{TORCH}/distributed/distributed_c10d.py"

LOGGER = f"{TORCH}/distributed/c10d_logger.py"

HARNESS = f"{Path(torch_testing_shim.__file__).parent}/_engine/rank_main.py"


def frames(*lines):
    return [Frame(file, number, function) for file, number, function in lines]


class Stacks(TestCase):
    def test_the_main_thread_is_the_last(self):
        text = f"""\
Thread 0x00007f (most recent call first):
  File "/t/worker.py", line 3 in work

Current thread 0x00008f (most recent call first):
  File "{LOGGER}", line 83 in wrapper
  File "/t/test_x.py", line 4 in test_a
"""
        expected = frames((LOGGER, 83, "wrapper"), ("/t/test_x.py", 4, "test_a"))
        self.assertEqual(tuple(expected), main_thread(text))
        self.assertEqual((), main_thread("no stack at all"))

    def test_a_call_is_named_as_the_test_calls_it(self):
        stack = frames(
            (DISTRIBUTED, 1, "broadcast"),
            (LOGGER, 2, "wrapper"),
            (DISTRIBUTED, 3, "broadcast_object_list"),
            (LOGGER, 2, "wrapper"),
            ("/t/test_x.py", 39, "test_a"),
            (HARNESS, 5, "_run_job"),
        )
        self.assertEqual(Place("test_x.py:39", "broadcast_object_list", True), place_of(stack))
        self.assertExpectedInline(str(place_of(stack)), """in broadcast_object_list (test_x.py:39)""")

    def test_what_warns_of_an_old_name_is_no_call_of_the_tests(self):
        import typing_extensions

        stack = frames(
            (DISTRIBUTED, 1, "reduce_scatter_single"),
            (DISTRIBUTED, 3, "reduce_scatter_tensor"),
            (typing_extensions.__file__, 3140, "wrapper"),
            (LOGGER, 2, "wrapper"),
            ("/t/test_x.py", 39, "test_a"),
        )
        self.assertEqual(Place("test_x.py:39", "reduce_scatter_tensor", True), place_of(stack))

    def test_a_line_of_the_test_is_named_by_its_function(self):
        stack = frames(("/t/test_x.py", 38, "helper"), ("/t/test_x.py", 50, "test_a"))
        self.assertEqual(Place("test_x.py:38", "helper", False), place_of(stack))

    def test_the_test_may_be_below_the_library_and_not_wait_for_ranks(self):
        import threading

        stack = frames((threading.__file__, 3, "wait"), ("/t/test_x.py", 7, "test_a"))
        self.assertEqual(Place("test_x.py:7", "test_a", False), place_of(stack))

    def test_a_callback_of_the_test_inside_torch_is_not_waiting(self):
        stack = frames(("/t/test_x.py", 9, "hook"), (DISTRIBUTED, 1, "all_reduce"), ("/t/test_x.py", 7, "test_a"))
        self.assertEqual(Place("test_x.py:9", "hook", False), place_of(stack))

    def test_what_lies_below_the_ranks_entry_is_the_controllers(self):
        stack = frames((HARNESS, 9, "_observe"), (HARNESS, 5, ENTRY), ("/t/test_x.py", 70, "<module>"))
        self.assertIsNone(place_of(stack))

    def test_a_collective_that_the_harness_calls_is_named_with_its_line(self):
        face = f"{Path(torch_testing_shim.__file__).parent}/common.py"
        stack = frames(
            (DISTRIBUTED, 1, "barrier"), (face, 8, "destroy_pg"), (HARNESS, 5, ENTRY), ("/t/x.py", 7, "main")
        )
        self.assertEqual(Place("common.py:8", "barrier", True), place_of(stack))

    def test_text_is_as_faulthandler_writes_it(self):
        main, other = frames(("/t/test_x.py", 38, "helper")), frames(("/t/worker.py", 3, "work"))
        self.assertEqual(tuple(main), main_thread(stacks_text([main, other])))
        self.assertExpectedInline(
            stacks_text([main, other]),
            """\
Thread 0x0000000000000001 (most recent call first):
  File "/t/worker.py", line 3 in work

Current thread 0x0000000000000000 (most recent call first):
  File "/t/test_x.py", line 38 in helper
""",
        )

    def test_a_stack_without_a_line_of_the_users(self):
        self.assertIsNone(place_of(frames((HARNESS, 5, "_run_job"))))


class Holder:
    def __init__(self, work):
        self.work = work


def starts_a_collective():
    """In a group with the last rank, which never enters it."""
    return dist.all_reduce(torch.ones(3), async_op=True, group=PAIRS[dist.get_rank()])


def waits_in_a_collective():
    dist.barrier(group=PAIRS[dist.get_rank()])


def waits_for_work():
    work = starts_a_collective()
    work.wait()


def waits_for_work_of_a_list():
    for work in [starts_a_collective()]:
        work.wait()


def waits_for_work_of_an_object():
    holder = Holder(starts_a_collective())
    holder.work.wait()


def waits_for_a_tensor():
    functional.wait_tensor(functional.all_reduce(torch.ones(3), "sum", PAIRS[dist.get_rank()]))


def waits_for_a_future():
    future = starts_a_collective().get_future()
    future.wait()


def waits_in_a_backward_pass():
    model = DistributedDataParallel(torch.nn.Linear(3, 1), process_group=PAIRS[dist.get_rank()], init_sync=False)
    model(torch.ones(3)).sum().backward()


def waits_with_a_time_out():
    work = starts_a_collective()
    work.wait(timedelta(seconds=FOREVER))


def waits_for_what_it_made():
    starts_a_collective().wait()


def sleeps_with_open_work():
    work = starts_a_collective()
    time.sleep(FOREVER)
    work.wait()


def waits_for_an_event():
    threading.Event().wait()


#: What each rank does, and what it is said to wait for. The last is the one that the others wait for.
WAYS = {
    waits_in_a_collective: Wait.COLLECTIVE,
    waits_for_work: Wait.COLLECTIVE,
    waits_for_work_of_a_list: Wait.COLLECTIVE,
    waits_for_work_of_an_object: Wait.COLLECTIVE,
    waits_for_a_tensor: Wait.COLLECTIVE,
    waits_for_a_future: Wait.NATIVE,
    waits_in_a_backward_pass: Wait.NATIVE,
    waits_with_a_time_out: Wait.UNKNOWN,
    waits_for_what_it_made: Wait.UNKNOWN,
    sleeps_with_open_work: Wait.UNKNOWN,
    waits_for_an_event: Wait.UNKNOWN,
}


#: In a rank, the groups of each rank with the last one.
PAIRS = []


class Ranks:
    @classmethod
    def _run(cls, rank, method, file_name, channel, **kwargs):
        size = len(WAYS)
        dist.init_process_group("gloo", init_method=f"file://{file_name}", rank=rank, world_size=size)
        PAIRS.extend(dist.new_group([other, size - 1]) for other in range(size - 1))
        dist.barrier()
        print("started", flush=True)
        list(WAYS)[rank]()


class Waits(StuckRanksTestCase):
    RANKS = Ranks

    def test_each_way_of_waiting(self):
        ranks = self.start("", len(WAYS))
        expected = {way.__name__: wait for way, wait in WAYS.items()}
        give_up = time.monotonic() + SOON
        while time.monotonic() < give_up:  # they need time to get where they wait
            found = self.waits(ranks)
            if found == expected:
                break
            time.sleep(0.05)
        self.assertEqual(expected, found)

    def waits(self, ranks):
        ask(ranks.jobs[0].folder, range(len(WAYS)))
        reports = read_reports(ranks.jobs[0].folder, range(len(WAYS)), 2.0)
        return {way.__name__: reports[rank].waits[0] for rank, way in enumerate(WAYS) if rank in reports}

    def test_a_thread_that_runs(self):
        self.assertIs(Wait.UNKNOWN, wait_of(sys._getframe()))


if __name__ == "__main__":
    run_tests()
