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


if __name__ == "__main__":
    run_tests()
