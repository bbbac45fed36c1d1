"""torch_testing_shim._program.ran_before"""

from __future__ import annotations

from torch._C._distributed_c10d import HashStore

from torch_testing_shim._engine.joined.bounded_store import BoundedStore
from torch_testing_shim._program.ran_before import RanBefore
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

PASSED = JournalEntry("A.test_1", TestStatus.PASSED, 0.5, ranks=(RankRecord(0, "passed", host="host1"),))
TORN = JournalEntry("A.tearDownClass", TestStatus.ERROR, 0.0, "torn", "a report")


class RanBeforeTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        store = HashStore()
        self.store = BoundedStore(lambda: store)
        self.addCleanup(self.store.close)

    def test_the_next_start_knows_what_ran_and_what_the_crash_cost(self) -> None:
        first = RanBefore(self.store)
        self.assertEqual([], first.read(["A.test_1", "A.test_2", "A.test_3"]))
        self.assertEqual(["A.test_1", "A.test_2"], first.left(["A.test_1", "A.test_2"]))
        for key in ("test/A.test_1/1", "test/A.test_1/2"):
            first.start(key)
            first.end(key, PASSED)
        first.end(None, TORN)
        first.start("test/A.test_2/1")

        second, other = RanBefore(self.store), RanBefore(self.store)
        told = second.read(["A.test_1", "A.test_2", "A.test_3"])
        other.take(told)
        for found in (second, other):
            self.assertEqual(
                [("A.test_1", TestStatus.PASSED)] * 2
                + [("A.test_2", TestStatus.ERROR), ("A.tearDownClass", TestStatus.ERROR)],
                [(entry.test, entry.status) for entry in found.before],
            )
            names = ["A.test_1", "A.test_2", "A.test_3"]
            self.assertEqual(["A.test_3"], found.left(names))
            self.assertEqual(["A.test_2", "A.test_3"], found.left(names))  # of the second repetition
            self.assertEqual(names, found.left(names))
        self.assertEqual([PASSED, TORN], [second.before[0], second.before[3]])
        self.assertRegex(second.before[2].reason, "^torchrun restarted its processes while this test ran")
        second.end(None, TORN)
        self.assertEqual(2, [name for name, _ in RanBefore(self.store).read([])].count("A.tearDownClass"))

    def test_a_store_that_is_lost_is_no_error_of_its_own(self) -> None:
        self.store.close()
        RanBefore(self.store).start("test/A.test_1/1")


if __name__ == "__main__":
    run_tests()
