"""A rank's words for an exception; the signs of a skip: exit codes, and what unittest and pytest raise."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

from torch.distributed.checkpoint.api import CheckpointException, _wrap_exception

from torch_testing_shim._engine.outcome import CollectiveMismatchError, PeerFailedError, RankStatus
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, skip_message, skip_outcome, skip_reason_of
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


def raised_from(error, cause):
    error.__cause__ = cause
    return error


def raised(error, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return outcome_of_exception(1, caught)


class Exceptions(TestCase):
    def test_failure_or_error(self):
        self.assertIs(RankStatus.FAILED, raised(AssertionError("no")).status)
        self.assertIs(RankStatus.ERRORED, raised(ValueError("no")).status)

    def test_headline(self):
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("cannot be shown")

        self.assertEqual("ValueError: one", raised(ValueError("one\ntwo")).headline)
        self.assertEqual("KeyError: 'x'", raised(KeyError("x")).headline)
        self.assertEqual("AssertionError", raised(AssertionError()).headline)
        self.assertRegex(raised(Odd()).headline, "Odd: <(exception str.. failed|unprintable Odd object)>")
        self.assertEqual("ValueError: two", raised(ValueError("\n \n  two\nthree")).headline)

    def test_headline_names_the_cause_that_a_message_holds(self):
        spawned = "\n\n-- Process 0 terminated:\nTraceback (most recent call last):\n  File x\nKeyError: 'a'\n\n"
        chained = (
            f"{spawned}During it:\n\nTraceback (most recent call last):\n  File y\n    code\nOSError: gone\nmore\n"
        )
        for text, cause in ((spawned, "KeyError: 'a'"), (chained, "OSError: gone")):
            self.assertEqual(f"RuntimeError: -- Process 0 terminated: {cause}", raised(RuntimeError(text)).headline)
        failures = {3: _wrap_exception(ValueError("boom"))}
        headline = raised(CheckpointException("save", failures)).headline
        self.assertRegex(headline, r"^CheckpointException: .*ranks.*3.*: ValueError: boom$")
        cut = "a\nTraceback (most recent call last):\n  File x"
        self.assertEqual("RuntimeError: a", raised(RuntimeError(cut)).headline)

    def test_traceback_leaves_the_harness_out_also_in_causes(self):
        try:
            self.assertEqual(1, 2)
        except AssertionError as error:
            text = raised(ValueError("outer"), cause=error).traceback
        self.assertIn("self.assertEqual(1, 2)", text)
        self.assertIn("was the direct cause of", text)
        self.assertNotIn("torch_testing_shim/_", text)

    def test_syntax_error_keeps_its_type(self):
        try:
            compile("a b", "f.py", "exec")
        except SyntaxError as error:
            self.assertRegex(outcome_of_exception(0, error).headline, "^SyntaxError: ")

    def test_a_long_text_is_cut_in_the_middle(self):
        text = raised(ValueError("x" * 1_000_000 + "end")).traceback
        self.assertLess(len(text), 300_000)
        self.assertIn("characters left out", text)
        self.assertTrue(text.endswith("end"))

    def test_a_peers_failure_is_marked(self):
        self.assertTrue(raised(PeerFailedError("rank 2 failed")).follows_peer)
        self.assertFalse(raised(AssertionError("mine")).follows_peer)

    def test_what_came_of_a_lost_peer_is_marked(self):
        lost = RuntimeError("Connection closed by peer [127.0.0.1]:1")
        self.assertTrue(raised(ValueError("the save has failed"), cause=lost).wraps_lost_peer)
        self.assertTrue(raised(ValueError("outer"), cause=raised_from(KeyError("middle"), lost)).wraps_lost_peer)
        self.assertFalse(raised(lost).wraps_lost_peer)
        self.assertFalse(raised(ValueError("outer"), cause=KeyError("mine")).wraps_lost_peer)
        try:
            try:
                raise lost
            except RuntimeError:
                raise ValueError("the save has failed")  # noqa: B904 - its context is what is tested
        except ValueError as error:
            self.assertTrue(outcome_of_exception(1, error).wraps_lost_peer)

    def test_an_exception_that_was_handled_when_the_peer_was_lost(self):
        for lost in (RuntimeError("Connection closed by peer"), CollectiveMismatchError("ranks disagree")):
            try:
                try:
                    raise ValueError("cause\nmore")
                finally:
                    raise lost
            except RuntimeError as error:
                self.assertEqual("ValueError: cause", outcome_of_exception(1, error).handled)
                error.__suppress_context__ = True  # as `raise ... from None` sets it
                self.assertEqual("", outcome_of_exception(1, error).handled)
        self.assertEqual("", raised(RuntimeError("Connection closed by peer")).handled)
        self.assertEqual("", raised(KeyError("own")).handled)

    def test_a_chain_may_be_a_cycle(self):
        first, second = ValueError("first"), KeyError("second")
        first.__cause__, second.__cause__ = second, first
        outcome = raised(second, cause=first)
        self.assertFalse(outcome.wraps_lost_peer)
        self.assertIn("ValueError: first", outcome.traceback)

    def test_headline_and_reason_are_one_line_of_some_length(self):
        self.assertLess(len(raised(ValueError("x" * 100_000)).headline), 1100)
        self.assertLess(len(skip_outcome(1, "x" * 100_000).skip_reason), 1100)

    def test_own_failure_type(self):
        class Mine(Exception):
            pass

        try:
            raise Mine("x")
        except Mine as error:
            self.assertIs(RankStatus.FAILED, outcome_of_exception(0, error, Mine).status)

    def test_skip(self):
        outcome = skip_outcome(3, "why")
        self.assertEqual((RankStatus.SKIPPED, "why", 86), (outcome.status, outcome.skip_reason, outcome.exit_code))


SAMPLE = """
import pytest
from torch_testing_shim.common_distributed import MultiProcContinuousTest, spawn_threads_and_init_comms

class Ends:
    world_size = RANKS

    def test_import(self):
        pytest.importorskip("nonexistent_module")

    def test_skip(self):
        pytest.skip("not here")

    def test_subtest(self):
        for i in range(2):
            with self.subTest(i=i):
                if i == 0:
                    pytest.skip("not this one")
                self.fail("no")

    def test_xfail(self):
        pytest.xfail("known")

    def test_fail(self):
        pytest.fail("on purpose")

    def test_one_skips(self):
        if self.rank == 1:
            pytest.skip("not for me")

class Processes(Ends, Spawning): pass

class Kept(Ends, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

class Threads(Ends, SpawningThreads): pass

class SkipsTheStart(Kept):
    @classmethod
    def _init_pg(cls, rank, world_size, rdvz_file):
        pytest.skip("no group here")

class Here(TestCase):
    test_import, test_skip, test_xfail = Ends.test_import, Ends.test_skip, Ends.test_xfail

    @spawn_threads_and_init_comms(world_size=2)
    def test_threads(self):
        pytest.skip("not here")
"""
KINDS = ("Processes", "Kept", "Threads")


class PytestsOutcomes(SampleTestCase):
    def test_by_file(self):
        run = self.run_sample(SAMPLE)
        for kind in (*KINDS, "Here"):
            self.assert_status(run, f"{kind}.test_import", TestStatus.SKIPPED, "could not import 'nonexistent_module'")
            self.assert_status(run, f"{kind}.test_skip", TestStatus.SKIPPED, "^not here$")
            self.assert_status(run, f"{kind}.test_xfail", TestStatus.SKIPPED, "^xfail: known$")
        for kind in KINDS:
            self.assert_status(
                run, f"{kind}.test_subtest", TestStatus.FAILED, r"in subtest \(i=1\): AssertionError: no"
            )
            self.assert_status(run, f"{kind}.test_fail", TestStatus.FAILED, "Failed: on purpose")
            self.assert_status(
                run, f"{kind}.test_one_skips", TestStatus.ERROR, r"rank 1 skipped \(not for me\), rank 0"
            )
        self.assert_status(run, "Here.test_threads", TestStatus.SKIPPED, "^not here$")
        self.assert_status(run, "SkipsTheStart.test_skip", TestStatus.SKIPPED, "^no group here$")

    def test_spawned_ranks(self):
        run = self.run_sample(SAMPLE, "Processes.test_skip", RANKS="1", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, "Processes.test_skip", TestStatus.SKIPPED, "^not here$")

    def test_under_pytest(self):
        path = str(self.write_sample(SAMPLE))
        run = self.run_command("-m", "pytest", "-q", "-rsxf", "-p", "no:cacheprovider", path, "-k", "not SkipsTheStart")
        self.assertEqual(
            "9 failed, 9 skipped, 6 deselected, 4 xfailed", re.search(r"\d+ failed.*xfailed", run.output)[0]
        )
        self.assertRegex(run.output, "XFAIL .*Processes::test_xfail - known")


class Skips(TestCase):
    def test_only_an_int_is_a_code(self):
        self.assertEqual("skipped inside a rank", skip_message(86))
        for code in (86.0, "86", None, 90, 2**40):
            self.assertIsNone(skip_message(code), code)

    def test_other_exceptions_are_no_skips(self):
        self.assertEqual("why", skip_reason_of(unittest.SkipTest("why")))
        for error in (ValueError("no"), AssertionError(), SystemExit(86), type("Skipped", (Exception,), {})("no")):
            self.assertIsNone(skip_reason_of(error))

    def test_pytest_is_not_imported(self):
        script = (
            "import sys; from torch_testing_shim._engine.rank_outcomes import skip_reason_of; "
            "skip_reason_of(ValueError()); print('_pytest' in sys.modules)"
        )
        found = subprocess.run([sys.executable, "-c", script], capture_output=True)
        self.assertEqual(b"False\n", found.stdout)


if __name__ == "__main__":
    run_tests()
