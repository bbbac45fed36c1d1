"""The waits of real threads that stand in calls of torch and of the test's own."""

import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.nn.parallel import distributed as parallel

from torch_testing_shim._engine.self_report import ask, read_reports
from torch_testing_shim._engine.waits import Wait, wait_of
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import FOREVER, SOON, StuckRanksTestCase


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
    with mock.patch.multiple(
        parallel, _verify_param_shape_across_processes=mock.Mock(), _sync_module_states=mock.Mock()
    ):
        model = parallel.DistributedDataParallel(torch.nn.Linear(3, 1), process_group=PAIRS[dist.get_rank()])
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


#: The work of each rank, and the thing that it is said to wait for. The last is the one that the others wait for.
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
