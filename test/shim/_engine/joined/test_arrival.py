"""torch_testing_shim._engine.joined.arrival"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from torch._C._distributed_c10d import HashStore

from torch_testing_shim._engine.joined.arrival import MissingRanksError, arrive
from torch_testing_shim._engine.joined.bounded_store import BoundedStore
from torch_testing_shim._engine.joined.exchange import Exchange
from torch_testing_shim.common_utils import TestCase, run_tests

#: Seconds that all take at most, and that those wait who wait in vain.
ALL, VAIN = 20.0, 0.2
UNHEARD = "torchrun's processes did not meet: nothing was heard from rank {} within 0 s"


class ArrivalTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self._store = HashStore()

    def arrive(self, rank: int, size: int, seconds: float) -> str:
        exchange = Exchange(BoundedStore(lambda: self._store), rank)
        try:
            return arrive(exchange, rank, size, seconds)
        finally:
            exchange.store.close()

    def start(self, *delays: float) -> list[str]:
        """One start of ranks, each after a delay."""

        def come(rank: int) -> str:
            time.sleep(delays[rank])
            return self.arrive(rank, len(delays), ALL)

        with ThreadPoolExecutor(len(delays)) as threads:
            return list(threads.map(come, range(len(delays))))

    def test_each_start_has_a_run_of_its_own(self) -> None:
        runs = [self.start(0.0, 0.1, 0.0), self.start(0.1, 0.0, 0.0), self.start(0.0, 0.1, 0.2), self.start(0.0, 0.0)]
        self.assertEqual([1, 1, 1, 1], [len(set(run)) for run in runs], runs)
        self.assertEqual(4, len({run[0] for run in runs}))

    def test_those_that_do_not_come_are_named(self) -> None:
        self.start(0.0, 0.0, 0.0)  # what an earlier start has said is no answer
        with ThreadPoolExecutor(2) as threads:
            waits = [threads.submit(self.arrive, rank, 3, VAIN) for rank in (0, 2)]
            said = [str(wait.exception()) for wait in waits]
        self.assertEqual(UNHEARD.format(1), said[0])
        self.assertIn(said[1], [UNHEARD.format(rank) for rank in (0, 1)])
        with self.assertRaisesRegex(MissingRanksError, f"^{UNHEARD.format(0)}$"):
            self.arrive(1, 3, VAIN)

    def test_where_rank_0_has_not_come_either_both_are_named(self) -> None:
        with self.assertRaisesRegex(MissingRanksError, f"^{UNHEARD.format('0, 2')}$") as raised:
            self.arrive(1, 3, VAIN)
        self.assertEqual([0, 2], raised.exception.ranks)

    def test_nobody_waits_for_a_process_that_cannot_come(self) -> None:
        self._store.set("absent", "rank 1 (host2): exit status 1")
        began = time.monotonic()
        with self.assertRaisesRegex(
            MissingRanksError, r"^torchrun's processes did not meet: rank 1 \(host2\): exit status 1$"
        ):
            self.arrive(0, 2, ALL)
        self.assertLess(time.monotonic() - began, ALL / 2)


if __name__ == "__main__":
    run_tests()
