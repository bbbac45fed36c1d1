"""Self reports of real ranks."""

import sys
import time
import unittest
from pathlib import Path

import torch._C._distributed_c10d as c10d

from torch_testing_shim._engine.self_report import _answer, ask, read_reports
from torch_testing_shim._engine.stacks import OWN_THREAD
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import SOON, StuckRanksTestCase


class Reports(StuckRanksTestCase):
    def await_report(self, ranks, rank, condition):
        """A report of the rank that meets the condition: the rank needs time to get where it is going."""
        give_up = time.monotonic() + SOON
        while time.monotonic() < give_up:
            ask(ranks.jobs[0].folder, [rank])
            report = read_reports(ranks.jobs[0].folder, [rank], 1.0).get(rank)
            if report is not None and condition(report):
                return report
            time.sleep(0.02)
        self.fail("no such report came")

    @unittest.skipUnless(hasattr(c10d, "_dump_fr_trace_json"), "this torch has no recorder for gloo")
    def test_a_rank_in_a_collective(self):
        ranks = self.start("waits_in_a_collective", 2)
        report = self.await_report(  # which has come back from C++: it is recorded before that
            ranks, 0, lambda report: "all_reduce" in report.flight and report.threads[0][0].function == "all_reduce"
        )
        self.assertEqual(2, len(report.threads), "the thread that answers is not told")
        functions = [frame.function for frame in report.threads[0]]
        self.assertIn("waits_in_a_collective", functions)
        self.assertEqual({1800.0}, set(report.timeouts))
        other = self.await_report(ranks, 1, lambda report: report.threads[0][0].function == "waits_in_a_collective")
        self.assertNotIn("all_reduce", other.flight)

    def test_the_answering_thread_is_not_among_the_tests_threads(self):
        ranks = self.start("counts_its_threads", 1)
        output = ranks.jobs[0].folder.output(0)
        give_up = time.monotonic() + SOON
        while output.read_text().count("\n") < 2:
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.02)
        self.assertEqual("started\n1 1\n", output.read_text())

    def test_what_the_answering_thread_runs_is_what_stacks_take_for_it(self):
        self.assertEqual(OWN_THREAD, _answer.__name__)

    def test_a_rank_that_is_not_there_gives_no_report(self):
        ranks = self.start("counts_its_threads", 1)
        ask(ranks.jobs[0].folder, [5])
        self.assertEqual({}, read_reports(ranks.jobs[0].folder, [5], 0.05))


if __name__ == "__main__":
    run_tests()
