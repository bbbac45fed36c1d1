"""Logs of the collectives that real ranks enter, whoever calls them, and the reports from them."""

import os
import re
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from torch_testing_shim._engine.collective_log import _LOG, OPERATORS
from torch_testing_shim._engine.collectives import LINES, partings, read_log
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import SOON, StuckRanksTestCase

ONES = torch.ones(2)


def of_each_rank(*shape):
    return [torch.ones(shape) for _ in range(2)]


#: Each collective that gloo has, and how it is logged.
EACH = [
    (lambda: dist.all_reduce(torch.ones(2, 3), op=dist.ReduceOp.MAX), "all_reduce MAX float32 [2, 3]"),
    (lambda: dist.all_reduce_coalesced([ONES, torch.ones(3)]), "all_reduce_coalesced SUM float32 [2], [3]"),
    (lambda: dist.reduce(ONES, dst=1), "reduce SUM, root 1 float32 [2]"),
    (lambda: dist.broadcast(torch.ones(5, dtype=torch.int8), src=1), "broadcast root 1 int8 [5]"),
    (lambda: dist.all_gather(of_each_rank(2), ONES), "all_gather float32 [2]"),
    (lambda: dist.all_gather_into_tensor(torch.ones(4), ONES), "all_gather_into_tensor float32 [2]"),
    (lambda: dist.gather(ONES, of_each_rank(2) if not dist.get_rank() else None), "gather root 0 float32 [2]"),
    (lambda: dist.scatter(ONES, of_each_rank(2) if not dist.get_rank() else None), "scatter root 0 float32 [2]"),
    (lambda: dist.reduce_scatter(torch.ones(3), of_each_rank(3)), "reduce_scatter SUM float32 [3]"),
    (lambda: dist.reduce_scatter_tensor(ONES, torch.ones(4)), "reduce_scatter_tensor SUM float32 [4]"),
    (lambda: dist.all_to_all_single(ONES, torch.ones(2)), "all_to_all_single float32 [2]"),
    (lambda: dist.barrier(), "barrier"),
    (lambda: dist.monitored_barrier(), "monitored_barrier"),
    (lambda: dist.all_reduce_coalesced([ONES] * 6), "all_reduce_coalesced SUM float32 [2], [2], [2], [2] and 2 more"),
]


#: Torch tells which reduction an operator is called with (torch 2.6 does not, nor does its gloo have all collectives).
TELLS_REDUCTIONS = "async_op" in str(torch.ops.c10d.allreduce_.default._schema)
if not TELLS_REDUCTIONS:
    told = [(enter, re.sub(" (SUM|MAX),?", "", text)) for enter, text in EACH]
    EACH = [(enter, text) for enter, text in told if not text.startswith("reduce_scatter ")]


def logged():
    """This rank's log with each group, without numbers and checksums."""
    lines = [line.split("\t") for line in (read_log(_LOG._path) or "").splitlines() if "\t" in line]
    return [" ".join(filter(None, (part.strip() for part in fields[2:]))) for fields in lines]


class PassesOn(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Ranks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def start_group(self):
        dist.init_process_group(
            "gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=self.world_size
        )

    def test_each_collective(self):
        self.start_group()
        self.assertEqual("", read_log(_LOG._path), "it has entered nothing")
        for enter, _ in EACH:
            enter()
        self.assertEqual([text for _, text in EACH], sorted(logged(), key=[text for _, text in EACH].index))

    def test_whoever_calls(self):
        self.start_group()
        dist.barrier()
        functional.all_reduce(ONES, "sum", dist.group.WORLD).sum().item()
        thread = threading.Thread(target=dist.all_reduce, args=(ONES,))
        thread.start()
        thread.join()
        with PassesOn(), PassesOn():
            dist.all_reduce(torch.ones(3))
        told = " SUM" if TELLS_REDUCTIONS else ""
        self.assertEqual(
            Counter({"barrier": 1, f"all_reduce{told} float32 [2]": 2, f"all_reduce{told} float32 [3]": 1}),
            Counter(logged()),
        )
        model = DistributedDataParallel(torch.nn.Linear(10, 1))
        model(torch.ones(10)).sum().backward()
        self.assertIn(f"all_reduce{told} float32 [11]", logged())

    def test_groups_are_told_apart_and_keep_their_last_collectives(self):
        self.start_group()
        pair = dist.new_group([0, 1], group_desc="pair")
        dist.barrier(group=pair)
        for size in range(LINES + 5):
            dist.all_reduce(torch.ones(size))
        before = len(os.listdir("/proc/self/fd"))
        time.sleep(0.5)  # torch 2.6 may hang for good where a group is destroyed right after its last collective
        dist.destroy_process_group()
        dist.init_process_group("gloo", init_method=f"file://{self.file_name}2", rank=self.rank, world_size=2)
        dist.broadcast(torch.ones(2), src=0)
        self.assertEqual(LINES + 2, len(logged()))
        self.assertNotIn("float32 [4]", str(logged()))
        found = partings({self.rank: read_log(_LOG._path), 1 - self.rank: ""})
        titles = ["group pair", "the default group", "the default group"]
        self.assertEqual(titles, sorted(parting.title for parting in found))
        self.assertGreaterEqual(before, len(os.listdir("/proc/self/fd")) - 20, "gloo's connections at most")

    def test_what_is_not_this_ranks_is_not_logged(self):
        self.start_group()
        dist.barrier()
        child = os.fork()
        if child == 0:
            _LOG.note(OPERATORS["barrier"], (ONES, dist.group.WORLD.boxed()))
            os._exit(0)
        os.waitpid(child, 0)
        if torch._C._dispatch_has_kernel_for_dispatch_key("c10d::allreduce_", "Meta"):
            dist.all_reduce(torch.ones(2, device="meta"))
        self.assertEqual(["barrier"], logged())

    def test_a_full_disk_stops_no_collective_and_leaves_no_half_a_log(self):
        self.start_group()
        path = _LOG._path
        pair = dist.new_group([0, 1])
        dist.barrier()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        total = torch.ones(2)
        dist.all_reduce(total, group=pair)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual([2.0, 2.0], total.tolist())
        self.assertIsNone(read_log(path))

    def test_an_error_is_torchs_own(self):
        self.start_group()
        try:
            dist.group.WORLD.allreduce([], dist.AllreduceOptions())
        except NotImplementedError as error:
            self.assertIn("no tensor arguments to this function", str(error))
            files = {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}
            self.assertEqual({Path(__file__).name, "collective_log.py"}, files)
        else:
            self.fail("it raises nothing")


class Killed(StuckRanksTestCase):
    def test_what_a_killed_rank_entered_is_known(self):
        ranks = self.start("waits_in_a_collective", 2)
        folder = ranks.jobs[0].folder
        give_up = time.monotonic() + SOON
        while "all_reduce" not in (read_log(folder.collectives(0)) or ""):
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.02)
        ranks.signal(0, signal.SIGKILL)
        (parting,) = partings({rank: read_log(folder.collectives(rank)) for rank in (0, 1)})
        self.assertEqual(
            "rank 1 entered nothing as collective 2 of the default group, rank 0 entered all_reduce of [3]",
            parting.headline,
        )


if __name__ == "__main__":
    run_tests()
