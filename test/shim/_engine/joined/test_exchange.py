"""torch_testing_shim._engine.joined.exchange"""

from __future__ import annotations

import time

from torch._C._distributed_c10d import HashStore

from torch_testing_shim._engine.joined.bounded_store import BoundedStore
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim.common_utils import TestCase, run_tests


class ExchangeTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        store = HashStore()
        self.ranks = [Exchange(BoundedStore(lambda: store), rank, 3) for rank in range(3)]
        for exchange in self.ranks:
            self.addCleanup(exchange.store.close)

    def test_all_have_answered_when_the_last_has(self) -> None:
        for rank in (0, 1):
            self.ranks[rank].answer("q", f"said: {rank}", 3)
        until = time.monotonic() + 0.05
        self.assertFalse(self.ranks[0].wait("q", lambda: until))
        self.assertEqual({0: "said: 0", 1: "said: 1"}, self.ranks[2].answers("q", range(3)))
        self.ranks[2].answer("q", "", 3)
        self.assertTrue(self.ranks[0].wait("q", lambda: time.monotonic() + 5))
        self.assertEqual({0: "said: 0", 1: "said: 1", 2: ""}, self.ranks[1].answers("q", range(3)))

    def test_the_first_answer_for_a_rank_counts_and_counts_once(self) -> None:
        self.ranks[0].answer("q", "it died", 2, rank=1)
        self.ranks[2].answer("q", "it died", 2, rank=1)
        self.ranks[1].answer("q", "I live", 2)
        self.assertFalse(self.ranks[0].wait("q", lambda: 0.0))
        self.assertEqual({1: "it died"}, self.ranks[0].answers("q", range(2)))

    def test_what_all_have_in_common_stands_for_their_answers(self) -> None:
        for rank in range(3):
            self.ranks[rank].answer("q", f"rank {rank} passed", 3, common="passed")
        self.assertEqual(dict.fromkeys(range(3), "passed"), self.ranks[1].answers("q", range(3)))
        own = {rank: f"rank {rank} passed" for rank in range(3)}
        self.assertEqual(own, self.ranks[1].answers("q", range(3), each=True))

    def test_one_that_differs_is_heard(self) -> None:
        for differing in ("failed", ""):
            for rank, common in enumerate(["passed", differing, "passed"]):
                self.ranks[rank].answer(f"q{differing}", f"rank {rank}", 3, common=common)
            own = {rank: f"rank {rank}" for rank in range(3)}
            self.assertEqual(own, self.ranks[0].answers(f"q{differing}", range(3)), differing)

    def test_nothing_is_in_common_while_one_is_missing(self) -> None:
        for rank in (0, 1):
            self.ranks[rank].answer("q", f"rank {rank}", 3, common="passed")
        self.assertEqual({0: "rank 0", 1: "rank 1"}, self.ranks[2].answers("q", range(3)))

    def test_whoever_waits_may_lose_patience_meanwhile(self) -> None:
        ends = iter([time.monotonic() + 60, 0.0])
        self.assertFalse(self.ranks[0].wait("q", lambda: next(ends)))

    def test_a_store_that_is_lost_has_no_answers(self) -> None:
        self.ranks[0].store.close()
        self.assertFalse(self.ranks[0].wait("q", lambda: time.monotonic() + 60))
        self.assertEqual({}, self.ranks[0].answers("q", range(3)))


if __name__ == "__main__":
    run_tests()
