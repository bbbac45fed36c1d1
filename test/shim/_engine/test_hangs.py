"""Ranks that are slow, and no hang; of hangs and deadlocks, `test_fault_catalogue` has each kind.

Ranks of the samples wait most of the time, so their tests run side by side.
"""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

GROUP = """
from datetime import timedelta

class Base(Spawning):
    world_size = 3

    def start_group(self, **kwargs):
        dist.init_process_group(
            "gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=self.world_size, **kwargs
        )
        dist.barrier()  # all are connected
"""

SLOW = (
    GROUP
    + """
class Slow(Base):
    def test_sleeps(self):
        self.start_group()
        if self.rank == 1:
            time.sleep(3)
        dist.barrier()

    def test_waits_for_a_program(self):
        self.start_group()
        if self.rank == 1:
            subprocess.run(["sleep", "3"], check=True)
        dist.barrier()

    def test_sleeps_with_open_work(self):
        self.start_group()
        groups = [dist.group.WORLD, dist.new_group([0, 1, 2])]
        dist.barrier(group=groups[1])
        first, second = groups if self.rank == 1 else reversed(groups)
        work = dist.all_reduce(torch.ones(3), group=first, async_op=True)
        time.sleep(3)
        dist.all_reduce(torch.ones(3), group=second)
        work.wait()

    def test_backward_while_one_reads_a_slow_file(self):
        self.start_group()
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
        loss = model(torch.ones(1, 2)).sum()
        if self.rank == 1:
            import os
            reads, writes = os.pipe()
            os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 3; echo"], dict(os.environ),
                file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)], setsid=True)
            os.read(reads, 1)
        loss.backward()
        dist.barrier()

    def test_expects_a_timeout(self):
        self.start_group(timeout=timedelta(seconds=3))
        # The first rank whose time is up closes its connections: the others may see that before their own time is up.
        with self.assertRaisesRegex(RuntimeError, "(?i)timed? ?out|connection (closed|reset)"):
            dist.recv(torch.ones(1), src=(self.rank + 1) % 3)

    def test_a_thread_lets_them_go_on(self):
        self.start_group()
        def send_later():
            time.sleep(3)
            dist.send(torch.ones(1), dst=1)
        if self.rank == 0:
            import threading
            threading.Thread(target=send_later).start()
            dist.recv(torch.ones(1), src=1, tag=5)
        elif self.rank == 1:
            dist.recv(torch.ones(1), src=0)
            dist.send(torch.ones(1), dst=0, tag=5)
        dist.barrier()
"""
)

RAISES = (
    GROUP
    + """
class Raises(Base):
    def test_raises(self):
        raise ValueError("no")
"""
)


def seconds_of_ranks(entry):
    """From the start of the first rank to the end of the last: what the harness does before is not in it."""
    return max(rank.started_at + rank.seconds for rank in entry.ranks) - entry.ranks[0].started_at


class Hangs(SampleTestCase):
    def test_what_is_slow_is_no_deadlock(self):
        slow = ("sleeps", "waits_for_a_program", "expects_a_timeout", "a_thread_lets_them_go_on")
        slow += ("sleeps_with_open_work", "backward_while_one_reads_a_slow_file")
        run = self.run_side_by_side(
            SLOW,
            *([f"Slow.test_{test}" for test in slow[first::3]] for first in range(3)),
            TORCH_TESTING_SHIM_STALL_SECONDS="1",
            DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="100",
        )
        for test in slow:
            entry = self.assert_status(run, f"Slow.test_{test}", TestStatus.PASSED)
            self.assertGreater(seconds_of_ranks(entry), 2.9, "it was slow")

    def test_full_traceback(self):
        run = self.run_sample(RAISES, "--full-traceback", "Raises")
        entry = self.assert_status(run, "Raises.test_raises", TestStatus.ERROR, "ranks? .*ValueError: no")
        self.assertIn("_cases/multi_process.py", entry.detail)


if __name__ == "__main__":
    run_tests()
