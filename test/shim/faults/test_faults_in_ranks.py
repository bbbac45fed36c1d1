"""Faults in real ranks: what counts as one collective, that each kind of fault strikes where it says, each time, and
what the report of a struck test says. Verdicts over struck ranks are the journal's of a sample file.
"""

import sys
import textwrap
import threading
import time
import unittest
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import SavePlanner
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from torch_testing_shim import faults
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir
from torch_testing_shim.faults import (
    InjectedFaultError,
    call,
    collective,
    delay,
    fail,
    inject,
    kill,
    read,
    record_communication,
    transfer,
    write,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: gloo has `reduce_scatter`, as it has since torch 2.7 or 2.8.
GLOO_SCATTERS = "async_op" in str(torch.ops.c10d.allreduce_.default._schema)


class Counted(DTensorTestBase):
    """Calls that count as one collective, over real ranks."""

    @property
    def world_size(self):
        return 2

    def entered(self, step):
        with record_communication() as names:
            self.result = step()
        return names

    @with_comms
    def test_what_a_test_calls(self):
        ones, rank, other = torch.ones(4), self.rank, 1 - self.rank
        both, objects = [torch.empty(4), torch.empty(4)], [None, None]
        steps = [
            (["all_reduce"], lambda: dist.all_reduce(ones)),
            (["all_reduce"], lambda: dist.all_reduce(ones, async_op=True).wait()),
            (["all_gather"], lambda: dist.all_gather(both, ones)),
            (["all_gather_into_tensor"], lambda: dist.all_gather_into_tensor(torch.empty(8), ones)),
            (["reduce_scatter"], lambda: dist.reduce_scatter(torch.empty(4), both)),
            (["reduce_scatter_tensor"], lambda: dist.reduce_scatter_tensor(torch.empty(2), ones)),
            (["all_to_all_single"], lambda: dist.all_to_all_single(torch.empty(4), ones)),
            (["broadcast"], lambda: dist.broadcast(ones, 0)),
            (["barrier"], dist.barrier),
            (["monitored_barrier"], dist.monitored_barrier),
            (["all_gather_object"], lambda: dist.all_gather_object(objects, rank)),
            (["all_gather_object"] * 2, lambda: [dist.all_gather_object(objects, rank) for _ in range(2)]),
            (["broadcast_object_list"], lambda: dist.broadcast_object_list([1], 0)),
            (["gather_object"], lambda: dist.gather_object(1, None if rank else objects)),
            (["scatter_object_list"], lambda: dist.scatter_object_list([None], [1, 2])),
            ([], lambda: dist.new_group([0, 1])),
            (["send", "recv"][rank : rank + 1], lambda: dist.recv(ones, 0) if rank else dist.send(ones, 1)),
            (
                ["send_object_list", "recv_object_list"][rank : rank + 1],
                lambda: dist.recv_object_list([None], 0) if rank else dist.send_object_list([1], 1),
            ),
            (
                ["send", "recv"],
                lambda: [
                    work.wait()
                    for work in dist.batch_isend_irecv(
                        [dist.P2POp(dist.isend, ones, other), dist.P2POp(dist.irecv, torch.empty(4), other)]
                    )
                ],
            ),
        ]
        for number, (expected, step) in enumerate(steps):
            if expected == ["reduce_scatter"] and not GLOO_SCATTERS:
                continue
            self.assertEqual(expected, self.entered(step), f"step {number}")

    @with_comms
    def test_what_torch_calls_for_it(self):
        group, leaf = dist.group.WORLD, torch.ones(4, requires_grad=True)
        self.assertEqual(["all_reduce"], self.entered(lambda: functional.all_reduce(leaf, "sum", group) + 1))
        gathered = self.entered(lambda: functional.all_gather_tensor_autograd(leaf, 0, group).sum())
        backward = self.entered(self.result.backward)
        self.assertEqual((["all_gather_into_tensor"], ["reduce_scatter_tensor"]), (gathered, backward))

        sharded = distribute_tensor(torch.ones(4, 2), self.build_device_mesh(), [Shard(0)])
        self.assertEqual(["all_gather_into_tensor"], self.entered(lambda: sharded.full_tensor()))
        self.assertEqual(["all_gather_into_tensor"], self.entered(lambda: sharded @ sharded.t()))  # inside an operator
        self.assertEqual([], self.entered(lambda: sharded.sum()))
        self.assertEqual(["all_reduce"], self.entered(self.result.full_tensor))

        # The model still lives when the process group is destroyed.
        self.model = DistributedDataParallel(torch.nn.Linear(4, 4))
        self.assertEqual([], self.entered(lambda: self.model(torch.ones(2, 4)).sum()))
        self.assertEqual(["all_reduce"], self.entered(self.result.backward))

    @unittest.skipUnless(hasattr(torch.cpu.Stream, "record_event"), "this torch has no fully_shard on the CPU")
    @with_comms
    def test_fsdp(self):
        layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        for module in (*layers, layers):
            fully_shard(module, mesh=self.build_device_mesh())
        self.assertEqual(["all_gather_into_tensor"] * 2, self.entered(lambda: layers(torch.ones(2, 4)).sum()))
        self.assertEqual(2, self.entered(self.result.backward).count("reduce_scatter_tensor"))
        old = FullyShardedDataParallel(torch.nn.Linear(4, 4), device_id=torch.device("cpu"))
        self.assertEqual(1, len(self.entered(lambda: old(torch.ones(2, 4)).sum())))
        self.assertEqual(["reduce_scatter_tensor"], self.entered(self.result.backward))

    @with_comms
    @with_temp_dir
    def test_distributed_checkpoints(self):
        state = {f"weight {self.rank}": torch.ones(4), f"step {self.rank}": 3}
        expected = ["gather_object", "scatter_object_list", "gather_object", "broadcast_object_list"]
        self.assertEqual(expected, self.entered(lambda: dcp.save(state, checkpoint_id=f"{self.temp_dir}/a")))
        in_thread = self.entered(lambda: dcp.async_save(state, checkpoint_id=f"{self.temp_dir}/b").result())
        self.assertEqual(expected, in_thread)
        for at in (read(2), call(dcp.StorageReader, "read_data")):
            with self.assertRaisesRegex(CheckpointException, r"ranks:dict_keys\(\[1\]\)"), inject(fail(rank=1, at=at)):
                dcp.load(state, checkpoint_id=f"{self.temp_dir}/a")


def replaced():
    """The functions that faults replace, as they are now."""
    return threading.Thread.start, SavePlanner.resolve_data, torch._C._len_torch_dispatch_stack()


class Struck(DTensorTestBase):
    """Faults that ranks survive."""

    @property
    def world_size(self):
        return 2

    def steps_until(self, nth):
        """How many collectives of eight were done when all ranks failed at their n-th."""
        steps = [lambda: dist.all_gather_object([None, None], 1), dist.barrier, lambda: dist.all_reduce(torch.ones(2))]
        done = 0
        struck = [fail(rank=rank, at=collective(nth)) for rank in range(2)]
        unfired = inject(delay(0, rank=self.rank, at=write()), must_fire=False)
        with unfired, self.assertRaises(InjectedFaultError), inject(*struck):
            self.assertNotIn(threading.Thread.start, self.before)
            for number in range(8):
                steps[number % 3]()
                done += 1
        return done

    @with_comms
    def test_the_same_collective_each_time(self):
        self.before = replaced()
        for nth in (1, 4, 4, 8):
            self.assertEqual(nth - 1, self.steps_until(nth))
            self.assertEqual(self.before, replaced())
            self.assertFalse(is_in_torch_dispatch_mode())
        # Nothing was sent by what was struck: the ranks still understand each other.
        gathered = [None, None]
        dist.all_gather_object(gathered, self.rank)
        self.assertEqual([0, 1], gathered)

    @with_comms
    def test_by_name_and_transfers_apart(self):
        ones = torch.ones(2)
        with (
            self.assertRaises(InjectedFaultError),
            inject(*[fail(rank=r, at=collective(2, "barrier")) for r in (0, 1)]),
        ):
            dist.barrier()
            dist.all_reduce(ones)
            (dist.recv if self.rank else dist.send)(ones, 1 - self.rank)
            done = True
            dist.barrier()
        self.assertTrue(done)
        with self.assertRaises(InjectedFaultError), inject(*[fail(rank=r, at=transfer()) for r in (0, 1)]):
            dist.all_reduce(ones)
            (dist.recv if self.rank else dist.send)(ones, 1 - self.rank)

    @with_comms
    def test_a_late_rank(self):
        dist.barrier()
        began = time.monotonic()
        with inject(delay(0.5, rank=1, at=collective(1, "all_gather_object"))):
            dist.all_reduce(torch.ones(1))
            times = [None, None]
            dist.all_gather_object(times, began)
        self.assertGreaterEqual(time.monotonic() - times[1], 0.5)  # nobody has it earlier: one clock for all processes

    @with_comms
    def test_a_rank_that_is_not_in_the_group(self):
        message = "kill rank 2 at its 1st collective: there are only 2 ranks"
        with self.assertRaisesRegex(ValueError, message), inject(kill(rank=2, at=collective())):
            self.fail("the block is not entered")

    @with_comms
    def test_in_the_backward_of_a_parallel_model(self):
        model = DistributedDataParallel(torch.nn.Linear(2, 2))
        loss = model(torch.ones(1, 2)).sum()
        struck = [fail(rank=rank, at=collective(1, "all_reduce")) for rank in range(2)]
        message = f"fail rank {self.rank} at its 1st all_reduce"
        with self.assertRaisesRegex(InjectedFaultError, message), inject(*struck):
            loss.backward()

    def test_before_there_is_a_group(self):
        with inject(delay(0.0, rank=1, at=collective(2)), rank=self.rank):
            self.init_pg()
            dist.barrier()
            dist.barrier()

    @with_comms
    def test_a_thread_that_outlives_the_block(self):
        go, done = threading.Event(), threading.Event()

        def late():
            go.wait()
            dist.all_reduce(torch.ones(1))
            done.set()

        with inject(fail(rank=self.rank, at=collective()), must_fire=False):
            thread = threading.Thread(target=late)
            thread.start()
        go.set()
        thread.join()
        self.assertTrue(done.is_set())
        self.assertFalse(is_in_torch_dispatch_mode())


SAMPLE = """
from torch_testing_shim.faults import collective, call, exit_with, fail, inject, kill

class Struck(DTensorTestBase):
    world_size = 3

    def steps(self):
        dist.barrier()  # all are connected
        for number in range(1, 9):
            print("step", number, flush=True)
            dist.all_reduce(torch.ones(1))

    @with_comms
    def test_killed(self):
        with inject(kill(rank=2, at=collective(5))):
            self.steps()

    @with_comms
    def test_killed_again(self):
        with inject(kill(rank=2, at=collective(5))):
            self.steps()

    @with_comms
    def test_ends(self):
        with inject(exit_with(7, rank=0, at=collective(2))):
            self.steps()

    @with_comms
    def test_fails(self):
        with inject(fail(rank=1, at=collective(3, "all_reduce"))):
            self.steps()

    @with_comms
    def test_fails_with(self):
        with inject(fail(rank=1, at=collective(3), error=OSError(28, "disk full"))):
            self.steps()

    @with_comms
    def test_never_fires(self):
        with inject(kill(rank=1, at=collective(10))):
            self.steps()

    @with_comms
    def test_never_fires_since_a_peer_is_dead(self):
        with inject(kill(rank=1, at=collective(2)), kill(rank=2, at=collective(7))):
            self.steps()

class Announced(DTensorTestBase):
    world_size = 3

    def setUp(self):
        super().setUp()
        self.skip_return_code_checks = [getattr(self, self._testMethodName).__wrapped__]

    def test_survivors_check(self):
        self.init_pg()
        dist.barrier()  # all are connected
        with self.assertRaisesRegex(RuntimeError, "peer|Broken pipe"), inject(kill(rank=2, at=collective(3))):
            for _ in range(5):
                dist.all_reduce(torch.ones(1))
        print("rank", self.rank, "has checked")

    def test_survivors_find_something(self):
        self.init_pg()
        dist.barrier()  # all are connected
        with inject(kill(rank=2, at=call(dist, "all_reduce"))):
            if self.rank == 2:
                dist.all_reduce(torch.ones(1))
        if self.rank == 1:
            self.fail("left behind")
"""


HANG = """
from torch_testing_shim.faults import call, hang, inject

class Hangs(DTensorTestBase):
    world_size = 2

    def test_hangs(self):  # without a process group, whose start takes its time of the deadline on a loaded machine
        with inject(hang(rank=1, at=call(os, "getppid", 2)), rank=self.rank):
            os.getppid()
            os.getppid()
"""

#: The complete example of the package's docstring.
EXAMPLE = textwrap.dedent(faults.__doc__.partition("as torch's are:\n")[2].partition("    if __name__")[0])


class Verdicts(SampleTestCase):
    def test_a_hang(self):
        run = self.run_sample(HANG, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="4")
        reason = "rank 1 still ran at the deadline, in test_hangs .*; rank 0 had ended"
        entry = self.assert_status(run, "Hangs.test_hangs", TestStatus.ERROR, reason)
        self.assertIn("injected fault: hang rank 1 at its 2nd os.getppid()", entry.detail)

    def test_what_a_report_says_of_struck_ranks(self):
        # Nothing here waits for the deadline; where something does, its report is to come before the run is given up.
        limits = {"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": "60"}
        run = self.run_sample(SAMPLE + EXAMPLE, TORCH_TESTING_SHIM_SHOW_OUTPUT="1", **limits)
        error, failed = TestStatus.ERROR, TestStatus.FAILED
        for test in ("Struck.test_killed", "Struck.test_killed_again"):
            entry = self.assert_status(run, test, error, r"rank 2 \(pid \d+\) died: killed by SIGKILL")
            self.assertIn("[rank 2] step 4\n[rank 2] injected fault: kill rank 2 at its 5th collective", entry.detail)
        self.assert_status(run, "Struck.test_ends", error, r"rank 0 \(pid \d+\) died: exit code 7")
        told = r"rank 1 errored: InjectedFaultError: fail rank 1 at its 3rd all_reduce"
        self.assert_status(run, "Struck.test_fails", error, told)
        self.assert_status(run, "Struck.test_fails_with", error, r"rank 1 errored: OSError: \[Errno 28\] disk full")
        told = (
            "rank 1 failed: FaultNeverFiredError: never fired: kill rank 1 at its 10th collective; "
            "it entered 1 barrier, 8 all_reduce"
        )
        self.assert_status(run, "Struck.test_never_fires", failed, told)
        told = r"rank 1 \(pid \d+\) died: killed by SIGKILL"
        self.assert_status(run, "Struck.test_never_fires_since_a_peer_is_dead", error, told)
        self.assert_status(run, "Announced.test_survivors_check", TestStatus.PASSED)
        self.assertIn("[rank 1] rank 1 has checked", run.output)
        self.assert_status(run, "Save.test_a_failed_write_fails_the_save_on_every_rank", TestStatus.PASSED)
        told = "rank 1 failed: AssertionError: .*left behind"
        self.assert_status(run, "Announced.test_survivors_find_something", failed, told)


if __name__ == "__main__":
    run_tests()
