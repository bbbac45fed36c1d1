"""Where threads meet: nobody waits in vain, whoever comes when, and the last does the work once."""

import sys
import threading
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._engine.outcome import CollectiveMismatchError, LostPeerError
from torch_testing_shim._engine.thread_rendezvous import Call, Rendezvous
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

SUM = Call("sum", "of numbers")


def run_threads(bodies):
    """Run the functions in threads of their own; what each returned or raised, in their order. A thread that hangs is
    an `AssertionError`."""
    results = [None] * len(bodies)

    def run(position):
        try:
            results[position] = bodies[position]()
        except Exception as error:
            results[position] = error

    threads = [threading.Thread(target=run, args=(position,), daemon=True) for position in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread waits in vain"
    return results


class RendezvousTest(TestCase):
    def come_to(self, rendezvous, rank, number=0, call=SUM, members=(0, 1, 2), group="0", work=None):
        box = [rank]

        def add(brought):
            total = sum(each[0] for each in brought)
            for each in brought:
                each[0] = total

        rendezvous.come(group, number, members, rank, call, box, work or add)()
        return box[0]

    @given(st.permutations(range(3)), st.integers(1, 4))
    def test_all_get_the_result_of_each_meeting(self, order, count):
        rendezvous = Rendezvous()
        bodies = [
            lambda rank=rank: [self.come_to(rendezvous, rank, number) for number in range(count)] for rank in order
        ]
        self.assertEqual([[3] * count] * 3, run_threads(bodies))

    def test_what_is_brought_is_in_the_order_of_members(self):
        seen, rendezvous = [], Rendezvous()
        bodies = [
            lambda rank=rank: self.come_to(rendezvous, rank, members=(2, 0, 1), work=seen.extend) for rank in range(3)
        ]
        run_threads(bodies)
        self.assertEqual([[2], [0], [1]], seen)

    def test_a_disagreement_ends_all_waits_also_of_who_comes_later(self):
        rendezvous = Rendezvous()
        other = Call("sum", "of words", ("words",))
        errors = run_threads([lambda: self.come_to(rendezvous, 0), lambda: self.come_to(rendezvous, 1, call=other)])
        errors.append(run_threads([lambda: self.come_to(rendezvous, 2)])[0])
        message = "ranks disagree on collective 0 of the default group: rank 0 sum of numbers, rank 1 sum of words"
        for error in errors:
            self.assertIsInstance(error, CollectiveMismatchError)
            self.assertEqual(message, str(error))

    def test_who_leaves_is_not_waited_for_before_or_after(self):
        rendezvous = Rendezvous()
        arrived = threading.Thread(target=lambda: early.extend(run_threads([lambda: self.come_to(rendezvous, 0)])))
        early = []
        arrived.start()
        rendezvous.leave(1, "failed")
        arrived.join()
        late = run_threads([lambda: self.come_to(rendezvous, 2, group="7")])
        self.assertIsInstance(early[0], LostPeerError)
        message = "sum of numbers (collective 0 of the default group) waits in vain for rank 1, which failed"
        self.assertEqual(message, str(early[0]))
        self.assertEqual(
            "sum of numbers (collective 0 of group 7) waits in vain for rank 1, which failed", str(late[0])
        )

    def test_who_has_come_may_leave(self):
        rendezvous = Rendezvous()
        rendezvous.come("0", 0, (0, 1), 0, SUM, [1], lambda _: None)
        rendezvous.leave(0, "has ended")
        self.assertEqual([5], run_threads([lambda: self.come_to(rendezvous, 1, members=(0, 1), work=self.set_five)]))

    @staticmethod
    def set_five(brought):
        for each in brought:
            each[0] = 5

    def test_work_that_fails_is_told_to_all(self):
        rendezvous = Rendezvous()

        def fail(_):
            raise ValueError("cannot add")

        results = run_threads([lambda rank=rank: self.come_to(rendezvous, rank, work=fail) for rank in range(3)])
        kinds = sorted(type(result).__name__ for result in results)
        self.assertEqual(["LostPeerError", "LostPeerError", "ValueError"], kinds)
        for result in results:
            self.assertRegex(str(result), r"^(cannot add|sum of numbers waits in vain for rank \d: it failed)$")

    def test_the_end_ends_all_waits(self):
        rendezvous, errors = Rendezvous(), []
        thread = threading.Thread(target=lambda: errors.extend(run_threads([lambda: self.come_to(rendezvous, 0)])))
        thread.start()
        rendezvous.end()
        thread.join()
        self.assertIn("was given up: the test has ended", str(errors[0]))
        self.assertIn("was given up", str(run_threads([lambda: self.come_to(rendezvous, 1, number=4)])[0]))

    def test_who_waits_for_whom(self):
        rendezvous = Rendezvous()
        thread = threading.Thread(target=run_threads, args=([lambda: self.come_to(rendezvous, 0)],), daemon=True)
        self.assertFalse(rendezvous.all_wait([]))
        self.assertEqual("", rendezvous.waits_for(threading.get_ident()))
        thread.start()
        while not rendezvous._waiting:
            pass
        (waiting,) = rendezvous._waiting
        self.assertEqual(
            "ranks 1, 2 in sum of numbers (collective 0 of the default group)", rendezvous.waits_for(waiting)
        )
        self.assertTrue(rendezvous.all_wait([waiting]))
        self.assertFalse(rendezvous.all_wait([waiting, threading.get_ident()]))
        rendezvous.end()
        self.assertFalse(rendezvous.all_wait([waiting]))
        thread.join()


if __name__ == "__main__":
    run_tests()
