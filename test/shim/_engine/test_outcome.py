"""A rank's outcome: its text forms, and its way through JSON."""

import sys
import unittest
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, ranks_text
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given


class Text(unittest.TestCase):
    def test_ranks(self):
        self.assertEqual("rank 1", ranks_text([1]))
        self.assertEqual("ranks 0, 2, 3", ranks_text([3, 0, 2]))
        self.assertEqual("ranks 0-2, 5", ranks_text([0, 1, 2, 5]))

    @given(st.text(), st.text(), st.sampled_from(RankStatus), st.none() | st.integers(-64, 255))
    def test_json_round_trip(self, headline, output, status, exit_code):
        outcome = RankOutcome(3, status, 1.5, headline=headline, output=output, exit_code=exit_code)
        self.assertEqual(outcome, RankOutcome.from_json(outcome.to_json()))

    def test_a_lost_peer_is_told_by_the_exceptions_own_words(self):
        source_line = 'File "x.py", line 1, in test\n    assert "Connection closed by peer" in log\n'

        def lost(headline, rest=""):
            traceback = f"Traceback (most recent call last):\n  {source_line}{headline}{rest}"
            return RankOutcome(0, RankStatus.ERRORED, headline=headline, traceback=traceback).lost_peer

        self.assertFalse(lost("AssertionError"))
        self.assertFalse(lost("ValueError: boom"))
        self.assertTrue(lost("RuntimeError: Application timeout caused pair closure"))
        self.assertTrue(lost("RuntimeError: [pair.cc:553] Connection closed by peer [127.0.0.1]:1"))
        self.assertTrue(lost("RuntimeError: Timed out waiting 900ms for recv operation to complete"))
        self.assertTrue(
            lost("DistBackendError: NCCL error in: x", "\nremote process exited or there was a network error")
        )
        passed = RankOutcome(0, RankStatus.PASSED, headline="Connection closed by peer")
        self.assertFalse(passed.lost_peer)

    def test_json_that_is_no_outcome(self):
        for text in ("", "7", "[]", '{"status": "passed"}', '{"rank": 1, "status": "great"}', '{"x": 1}'):
            with self.subTest(text), self.assertRaises(ValueError):
                RankOutcome.from_json(text)

    def test_unknown_signal_has_its_number(self):
        self.assertEqual("killed by signal 99", RankOutcome(0, RankStatus.DIED, exit_code=-99).exit_text)


class Properties(unittest.TestCase):
    def outcome(self, status, **fields):
        return RankOutcome(0, status, 1.0, **fields)

    def test_a_rank_that_passed_or_skipped_lets_the_others_go_on(self):
        good = {status for status in RankStatus if not status.is_bad}
        self.assertEqual({RankStatus.PASSED, RankStatus.SKIPPED}, good)
        hangs = {status for status in RankStatus if status.is_hang}
        self.assertEqual({RankStatus.HUNG, RankStatus.DEADLOCKED, RankStatus.INTERRUPTED}, hangs)
        passed = RankOutcome(0, RankStatus.PASSED)
        self.assertEqual((0.0, 0, False, False), (passed.ended_at, passed.pid, passed.finished, passed.wraps_lost_peer))

    def test_how_a_process_ended(self):
        texts = {code: self.outcome(RankStatus.DIED, exit_code=code).exit_text for code in (None, -11, 0, 3)}
        expected = {None: "an unknown exit status", -11: "killed by SIGSEGV", 0: "exit code 0", 3: "exit code 3"}
        self.assertEqual(expected, texts)

    def test_what_another_rank_caused_is_collateral(self):
        follows = self.outcome(RankStatus.ERRORED, headline="ValueError: x", follows_peer=True)
        lost = self.outcome(RankStatus.ERRORED, headline="RuntimeError: Connection closed by peer")
        own = self.outcome(RankStatus.ERRORED, headline="ValueError: x")
        self.assertEqual([True, True, False], [each.is_collateral for each in (follows, lost, own)])

    def test_exceptions_are_those_of_subtests_and_then_its_own(self):
        first = self.outcome(RankStatus.FAILED, subtest="(i=1)")
        own = self.outcome(RankStatus.ERRORED, headline="ValueError: after it", subtests=(first,))
        self.assertEqual((first, own), own.raised)
        theirs = self.outcome(RankStatus.FAILED, subtest="(i=1)", subtests=(first,))
        self.assertEqual((first,), theirs.raised)
        self.assertEqual((first,), first.raised)
        self.assertEqual((first,), self.outcome(RankStatus.DIED, subtests=(first,)).raised)

    def test_a_place_is_known_of_a_rank_that_was_ended(self):
        stacks = 'Current thread 0x0 (most recent call first):\n  File "/t/test_x.py", line 7 in test_a\n'
        place = self.outcome(RankStatus.HUNG, stacks=stacks).place
        assert place is not None
        self.assertIn("test_x.py:7", str(place))
        self.assertIsNone(self.outcome(RankStatus.PASSED).place)


if __name__ == "__main__":
    run_tests()
