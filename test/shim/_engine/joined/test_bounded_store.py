"""torch_testing_shim._engine.joined.bounded_store"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from torch._C._distributed_c10d import HashStore, Store

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError
from torch_testing_shim.common_utils import TestCase, run_tests


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

    def test_a_store_that_cannot_be_reached_is_lost(self) -> None:
        def refuse() -> HashStore:
            raise OSError("no route to host1\nat all")

        with self.assertRaisesRegex(StoreLostError, "^no route to host1$"):
            self.store(refuse).has("a")


if __name__ == "__main__":
    run_tests()
