"""torch_testing_shim._engine.joined.world"""

from __future__ import annotations

import faulthandler
import os
import socket
import time

from torch._C._distributed_c10d import TCPStore

from torch_testing_shim._engine.joined.meeting import MEETING
from torch_testing_shim._engine.joined.world import JoinedWorld, Member, connect_with, key_of
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim.common_utils import TestCase, run_tests

HERE = socket.gethostname()


class WorldTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.servers = [TCPStore("localhost", 0, is_master=True, wait_for_workers=False)]
        self.addCleanup(self.servers.clear)

    def world(self, rank: int, size: int, part: str = "") -> JoinedWorld:
        world = JoinedWorld(Launch(rank, size, size, "localhost", self.servers[0].port, has_store=True, part=part))
        self.addCleanup(lambda: [one.close() for one in (world.lasting.store, world.exchange.store)])
        self.addCleanup(lambda: MEETING._connection and MEETING._connection.close())
        return world

    def test_runs_and_parts_of_a_launch_have_keys_of_their_own(self) -> None:
        first, second, other = self.world(0, 1), self.world(0, 1), self.world(0, 1, part="run/2")
        for number, world in enumerate((first, second, other)):
            world.arrive(20.0)
            world.exchange.store.set("key", str(number))
            world.lasting.store.set("lasting", str(number))
        self.assertEqual(["0", "1", "2"], [w.exchange.store.get(["key"])[0] for w in (first, second, other)])
        self.assertEqual(["1", "1", "2"], [w.lasting.store.get(["lasting"])[0] for w in (first, second, other)])
        self.assertEqual(b"2", connect_with(other.launch, "run/2").get("lasting"))

    def test_a_test_that_ran_before_a_restart_has_another_key(self) -> None:
        world = self.world(0, 1)
        world.have_run(["A.test_1", "A.test_1"])
        world.begin("A.test_1", 10.0)
        self.assertEqual(key_of("A.test_1", 3), world.current.key)
        world.end(10.0)
        self.assertIsNone(world.test)

    def test_hosts_and_neighbours(self) -> None:
        world = self.world(1, 4)
        world.members = [Member(0, "a", 1), Member(1, HERE, os.getpid()), Member(2, HERE, 3), Member(3, "a", 4)]
        self.assertEqual((("a", HERE), HERE), (world.hosts, world.own.host))
        self.assertEqual([Member(2, HERE, 3)], world.neighbours)

    def test_either_the_main_thread_waits_or_the_watch_ends_the_test(self) -> None:
        world = self.world(0, 1)
        world.begin("A.test_1", 10.0)
        with world.awaiting(5.0) as test:
            self.assertFalse(world.claim_end(test))
        self.assertLess(test.deadline, time.monotonic() + 5.1)
        self.assertTrue(world.claim_end(test))


if __name__ == "__main__":
    run_tests()
