"""torch_testing_shim._engine.joined.bounded_store"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # test/shim, for what samples share

from harness_samples import wait_until
from hypothesis import given, strategies as st
from joined_samples import JoinedSampleTestCase, Started
from torch._C._distributed_c10d import HashStore, Store

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError, seconds_for_call
from torch_testing_shim._engine.joined.world import connect_with
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim.common_utils import TestCase, run_tests

#: How long glibc waits for a name server that has lost a query, in seconds, and the server of the store with it.
STALL = 5.0

SERVER = """
store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
with open("port.new", "w") as file:
    file.write(str(store.port))
os.rename("port.new", "port")
time.sleep(1000)
"""
SAMPLE = """
while os.environ["RANK"] == "1" and not os.path.exists("come"):
    time.sleep(0.01)

class Meeting(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_1(self):
        for _ in range(10):
            dist.barrier()
            open("running", "w").close()
            time.sleep(0.05)

    @with_comms
    def test_2(self):
        dist.barrier()
"""


class BoundedStoreTest(TestCase):
    def store(self, connect: Callable[[], Store]) -> BoundedStore:
        store = BoundedStore(connect)
        self.addCleanup(store.close)
        return store

    def test_it_does_what_the_store_does(self) -> None:
        store = self.store(HashStore)
        store.set("a", "1")
        self.assertEqual((True, False), (store.has("a"), store.has("a", "b")))
        self.assertEqual(["1"], store.get(["a"]))
        self.assertEqual([1, 2], [store.add("n"), store.add("n")])
        self.assertEqual(["x", "x"], [store.settle("s", "x"), store.settle("s", "y")])
        self.assertFalse(store.is_lost)

    def test_a_call_that_does_not_return_is_given_up_and_so_are_all_after_it(self) -> None:
        store, release = self.store(HashStore), threading.Event()
        self.addCleanup(release.set)
        began = time.monotonic()
        with self.assertRaisesRegex(StoreLostError, "did not answer within 0 s"):
            store.ask(lambda _: release.wait(30), 0.1)
        with self.assertRaisesRegex(StoreLostError, "lost before"):
            store.set("a", "1")
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertLessEqual(began, store.lost_at)

    def test_a_process_that_does_not_run_for_a_while_has_not_lost_the_store(self) -> None:
        sleep_with_the_lock = ctypes.PyDLL(None).usleep  # no other thread of this process runs meanwhile
        store = self.store(HashStore)
        self.assertEqual(0, store.ask(lambda _: sleep_with_the_lock(1_500_000), 1.0))
        self.assertFalse(store.is_lost)

    def test_a_store_that_cannot_be_reached_is_lost(self) -> None:
        def refuse() -> HashStore:
            raise OSError("no route to host1\nat all")

        with self.assertRaisesRegex(StoreLostError, "^no route to host1$"):
            self.store(refuse).has("a")

    def test_a_client_of_a_part_has_the_same_connection(self) -> None:
        store = self.store(HashStore)
        part = store.below("part").below("of it")
        part.set("a", "1")
        self.assertEqual(["1"], store.get(["part/of it/a"]))
        part.close()
        self.assertTrue(store.is_lost)

    def test_no_call_waits_longer_than_those_before_it(self) -> None:
        store, turns = self.store(HashStore), list[int]()
        first = threading.Thread(target=lambda: store.ask(lambda _: time.sleep(0.2)))
        first.start()
        time.sleep(0.05)  # until it is called
        others = []
        for number in range(5):
            others.append(threading.Thread(target=lambda number=number: store.ask(lambda _: turns.append(number))))
            others[-1].start()
            time.sleep(0.01)
        for thread in (first, *others):
            thread.join()
        self.assertEqual([0, 1, 2, 3, 4], turns)

    @given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
    def test_a_call_has_the_more_time_the_farther_the_deadline_is(self, left: float, more: float) -> None:
        seconds = seconds_for_call(left)
        self.assertLessEqual(seconds, max(3.0, left))
        self.assertLessEqual(seconds, seconds_for_call(left + more))
        self.assertLess(2 * STALL, seconds_for_call(2 * STALL + 1 + more))


class StalledStoreTest(JoinedSampleTestCase):
    def test_a_store_that_stalls_costs_nothing_but_time(self) -> None:
        server = self.start([str(self.write_sample(SERVER, "server.py"))])
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        self.assertTrue(wait_until((self.folder / "port").exists))
        launch = Launch(0, 2, 2, "localhost", int((self.folder / "port").read_text()), has_store=True)

        def stall(until: Callable[[], object], then: Callable[[], object]) -> None:
            self.assertTrue(wait_until(until))
            os.kill(server.pid, signal.SIGSTOP)
            then()
            time.sleep(STALL)
            os.kill(server.pid, signal.SIGCONT)

        def stall_twice(ranks: Sequence[Started]) -> None:
            store = connect_with(launch, "")
            stall(lambda: store.check(["mark/0"]), (self.folder / "come").touch)  # rank 0 waits for rank 1
            stall((self.folder / "running").exists, lambda: None)

        found = self.run_joined([[self.write_sample(SAMPLE)]] * 2, store=launch, meanwhile=stall_twice)
        self.assertEqual([0, 0], found.exit_codes, found.outputs)
        self.assertEqual(["passed"] * 2, [entry.status.value for entry in found.entries.values()])


if __name__ == "__main__":
    run_tests()
