"""torch_testing_shim._engine.joined.watch: what it sees and decides. test_joined_run.py has what follows."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import Any

from torch._C._distributed_c10d import HashStore

from torch_testing_shim._engine.joined.bounded_store import BoundedStore
from torch_testing_shim._engine.joined.ending import Patience
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim._engine.joined.watch import Watch, _descriptors, _exit_code
from torch_testing_shim._engine.joined.world import CurrentTest, Member
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim.common_utils import TestCase, run_tests

DIED = RankOutcome(1, RankStatus.DIED)


class NeighboursTest(TestCase):
    def test_a_neighbours_end_is_seen_with_its_exit_code(self) -> None:
        for command, code in (("exit 3", 3), ("kill -9 $$", -signal.SIGKILL)):
            child = subprocess.Popen(["sh", "-c", f"read line; {command}"], stdin=subprocess.PIPE)
            member = Member(1, "here", child.pid)
            (descriptor,) = (found := _descriptors([member]))
            self.assertEqual({descriptor: member}, found)
            self.assertEqual([], select.select([descriptor], [], [], 0)[0])
            child.stdin.close()
            self.assertEqual([descriptor], select.select([descriptor], [], [], 20)[0])
            self.assertEqual(code, _exit_code(child.pid))
            child.wait()
            self.assertIsNone(_exit_code(child.pid))  # its parent was faster
            self.assertEqual({}, _descriptors([member]))
            os.close(descriptor)


class StuckTest(TestCase):
    """A stand-in for the world, since a real one would end this process."""

    def setUp(self) -> None:
        super().setUp()
        store = HashStore()
        self.exchange = Exchange(BoundedStore(lambda: store), 0)
        self.addCleanup(self.exchange.store.close)
        now = time.monotonic()
        self.test = CurrentTest("A.test", "test/A.test/1", now + 100, 0.0, now, in_body=True)
        self.world: Any = SimpleNamespace(terminated_at=None, deaths={})
        self.watch = Watch.__new__(Watch)
        self.watch._world = self.world

    def status(self, bad_for: float = 10.0) -> RankStatus | None:
        """Return the status where a bad end, if there is one, is known for so many seconds."""
        patience = Patience(self.world, self.test, self.exchange)
        patience.look()
        if patience._bad_since is not None:
            patience._bad_since -= bad_for
        return self.watch._status_if_stuck(self.test, patience)

    def test_a_rank_that_may_go_on_is_not_stuck(self) -> None:
        self.assertIsNone(self.status())

    def test_one_that_is_out_of_time_hangs(self) -> None:
        self.test.deadline = time.monotonic()
        self.assertIs(RankStatus.HUNG, self.status())

    def test_one_that_the_launcher_ends_was_interrupted_unless_another_is_the_cause(self) -> None:
        self.world.terminated_at = time.monotonic() - 10.0
        self.assertIs(RankStatus.INTERRUPTED, self.status())
        self.world.deaths[1] = DIED
        self.assertIs(RankStatus.STOPPED, self.status())

    def test_one_that_the_launcher_ends_was_interrupted_where_another_tells_the_same_a_moment_before(self) -> None:
        self.world.terminated_at = time.monotonic() - 3.1
        self.exchange.store.set("test/A.test/1/bad", "")
        self.assertIs(RankStatus.INTERRUPTED, self.status(bad_for=0.1))
        self.assertIs(RankStatus.STOPPED, self.status(bad_for=3.0))

    def test_one_whose_test_has_ended_badly_elsewhere_is_stopped(self) -> None:
        self.exchange.store.set("test/A.test/1/bad", "")
        self.assertIs(RankStatus.STOPPED, self.status())

    def test_one_that_has_lost_the_store_is_stopped(self) -> None:
        self.exchange.store.close()
        self.assertIs(RankStatus.STOPPED, self.status())


if __name__ == "__main__":
    run_tests()
