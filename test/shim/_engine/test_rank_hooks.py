"""Hooks of a backend record around a rank's test: in which order, and whose error counts."""

import contextlib
import io
import os
import unittest
from unittest import mock

from torch_testing_shim._engine import rank_hooks
from torch_testing_shim._engine.backend_records import Backend, FoundBackend
from torch_testing_shim._engine.channel import ChannelWriter, make_channel
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.rank_hooks import BackendHookError, run_between_hooks
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome, skip_outcome
from torch_testing_shim._engine.skip_codes import TEST_SKIPS
from torch_testing_shim.common_utils import TestCase, run_tests

JOB = RankJob("m", None, "C", "test_x", rank=1, world_size=3, scratch="", rendezvous_file="")
WHOSE = r"of the backend record for 'ruby' \(torch-gems 1\.0\) raised ValueError: no$"


class Hooks(TestCase):
    def setUp(self):
        super().setUp()
        self.calls = []
        reader, descriptor = make_channel()
        self.addCleanup(reader.close)
        self.addCleanup(os.close, descriptor)
        self.channel = ChannelWriter(descriptor)

    def run_hooked(self, run, **hooks):
        """Runs `run` between hooks; what they print is in `self.printed`."""
        found = FoundBackend(Backend("ruby", **hooks), "torch-gems 1.0")
        self.printed = io.StringIO()
        with (
            mock.patch.object(rank_hooks, "backend_record", return_value=found),
            contextlib.redirect_stderr(self.printed),
        ):
            run_between_hooks(JOB, self.channel, run)

    def note(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))

    def fails(self, *_):
        raise ValueError("no")

    def ends(self, outcome, end):
        """A test that reports an outcome, if there is one, and raises."""

        def run():
            if outcome is not None:
                self.channel.send(outcome)
            raise end

        return run

    def test_around_the_test(self):
        self.run_hooked(self.note("test"), before_rank=self.note("before"), after_rank=self.note("after"))
        self.assertEqual([("before", 1, 3), ("test",), ("after", 1, 3)], self.calls)

    def test_without_hooks_and_without_a_record(self):
        self.run_hooked(self.note("test"))
        with mock.patch.object(rank_hooks, "backend_record", return_value=None):
            run_between_hooks(JOB, self.channel, self.note("test"))
        self.assertEqual([("test",)] * 2, self.calls)

    def test_before_raises(self):
        with self.assertRaisesRegex(BackendHookError, f"^before_rank {WHOSE}") as caught:
            self.run_hooked(self.note("test"), before_rank=self.fails, after_rank=self.note("after"))
        self.assertIsInstance(caught.exception.__cause__, ValueError)
        self.assertEqual([], self.calls)

    def test_after_raises_where_the_test_passed(self):
        with self.assertRaisesRegex(BackendHookError, f"^after_rank {WHOSE}"):
            self.run_hooked(lambda: self.channel.send(pass_outcome(1)), after_rank=self.fails)

    def test_after_is_called_whatever_the_end(self):
        error = KeyError("x")
        for end in (error, SystemExit(3), KeyboardInterrupt(), unittest.SkipTest("s")):
            with self.subTest(end), self.assertRaises(type(end)) as caught:
                self.run_hooked(self.ends(None, end), after_rank=self.note("after"))
            self.assertIs(end, caught.exception)
        self.assertEqual([("after", 1, 3)] * 4, self.calls)

    def test_after_raises_where_the_test_failed(self):
        error = AssertionError("the test's own")
        for outcome, end in ((outcome_of_exception(1, error), SystemExit(10)), (None, error), (None, SystemExit(3))):
            self.channel.sent = None
            with self.subTest(end), self.assertRaises(type(end)) as caught:
                self.run_hooked(self.ends(outcome, end), after_rank=self.fails)
            self.assertIs(end, caught.exception)
            first, *_, last = self.printed.getvalue().splitlines()
            self.assertRegex(first, f"^after that, after_rank {WHOSE}")
            self.assertEqual("ValueError: no", last)

    def test_after_raises_where_the_test_skipped(self):
        code = TEST_SKIPS["generic"].exit_code
        ends = (skip_outcome(1, "s"), SystemExit(code)), (None, SystemExit(code)), (None, unittest.SkipTest("s"))
        for outcome, end in ends:
            self.channel.sent = None
            with self.subTest(end), self.assertRaisesRegex(BackendHookError, f"^after_rank {WHOSE}"):
                self.run_hooked(self.ends(outcome, end), after_rank=self.fails)


if __name__ == "__main__":
    run_tests()
