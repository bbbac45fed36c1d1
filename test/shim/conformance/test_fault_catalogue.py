"""The whole catalogue of faults on this harness: each gets its verdict and its cause, leaves nothing, and the next test
is untouched. How long a verdict takes is `fault_table.py`'s to measure; here it is only bounded, for a loaded machine.
"""

import contextlib
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

import fault_table
from faults.campaign import deadline_of, run_faults
from faults.catalogue import catalogue
from faults.fault import Ending, Expectation, Fault
from faults.judgement import Judgement, Wrong, blames_another, is_wrong_verdict, judge
from faults.observe import Observation
from faults.table import counts, print_report

#: How late a verdict may come on a loaded machine, in seconds; a harness that does not notice needs the deadline's 60.
LATE_SECONDS = 20.0

BOOM = Fault("exceptions", "Raised.test_boom", "Raises.", Expectation(Ending.ERROR, "rank 1 errored: ", ("peer",)))
SEEN = Observation("Raised.test_boom", Ending.ERROR, "rank 1 errored: x\nlost its peer", 1.0, 2.0, 2.5)
HANG = replace(BOOM, expected=Expectation(Ending.ERROR, "rank 1 still ran", is_hang=True))


class WholeCatalogue(TestCase):
    def test_every_fault(self):
        faults = catalogue()
        self.assertGreater(len(faults), 100)
        self.assertEqual(len(faults), len({fault.test for fault in faults}), "two faults have the same name")
        self.assertEqual([], [fault.name for fault in faults if not fault.does])
        seen = run_faults([fault for fault in faults if not fault.expected.needs()])
        for fault in faults:
            judgement = judge(fault, seen.get(fault.test), deadline_of(fault), LATE_SECONDS)
            with self.subTest(fault.name):
                self.assertTrue(judgement.seen is not None or judgement.missing, "it was not run, and nobody says why")
                self.assertEqual((), judgement.wrongs, str(judgement.wrongs))
        missing = {fault.name: fault.expected.needs() for fault in faults if fault.expected.needs()}
        if missing:
            print(f"\ncannot be had on this machine: {missing}")


class Judge(TestCase):
    """The judge itself: what is wrong is seen, and what is right is not called wrong."""

    def wrongs(self, fault=BOOM, deadline=60.0, **seen):
        return [wrong for wrong, _ in judge(fault, replace(SEEN, **seen), deadline).wrongs]

    def test_right(self):
        self.assertEqual([], self.wrongs())

    def test_each_wrong_is_seen(self):
        self.assertEqual([Wrong.VERDICT], self.wrongs(ending=Ending.PASSED, report=""))
        self.assertEqual([Wrong.VERDICT], self.wrongs(ending=Ending.FAILED))
        self.assertEqual([Wrong.CAUSE], self.wrongs(report="rank 0 errored: x\npeer"))
        self.assertEqual([Wrong.CAUSE], self.wrongs(report="rank 1 errored: x"))
        self.assertEqual([Wrong.NEVER], self.wrongs(struck=None))
        self.assertEqual([Wrong.LATE], self.wrongs(ended=4.1))
        self.assertEqual([Wrong.LEFT], self.wrongs(left=("process 7 (sleep)",)))
        self.assertEqual([Wrong.TOUCHED], self.wrongs(untouched="umask is 0"))

    def test_a_hang_is_timed_from_its_deadline(self):
        hung = {"report": "rank 1 still ran at the deadline", "ended": 5.9}
        self.assertEqual([], self.wrongs(HANG, deadline=3.0, **hung))
        self.assertEqual([Wrong.LATE_HANG], self.wrongs(HANG, deadline=2.5, **hung))

    def test_a_fault_that_cannot_be_had(self):
        fault = replace(BOOM, expected=replace(BOOM.expected, needs=lambda: "no root"))
        self.assertEqual(Judgement(fault, None, "no root", 60.0), judge(fault, None, 60.0))

    def test_another_harness_is_forgiven_the_kind_of_a_bad_verdict_and_nothing_more(self):
        self.assertFalse(is_wrong_verdict(BOOM, Ending.FAILED))
        for ending in (Ending.PASSED, Ending.SKIPPED, Ending.NONE, Ending.EXPECTED_FAILURE):
            self.assertTrue(is_wrong_verdict(BOOM, ending))
        skips = replace(BOOM, expected=Expectation(Ending.SKIPPED))
        self.assertTrue(is_wrong_verdict(skips, Ending.PASSED))

    def test_blame(self):
        self.assertTrue(blames_another(BOOM, replace(SEEN, report="Process 0 exited with error code 10")))
        self.assertFalse(blames_another(BOOM, replace(SEEN, report="Process 1 exited with error code 10")))
        self.assertFalse(blames_another(BOOM, replace(SEEN, report="something is wrong")))


class Table(TestCase):
    def test_report(self):
        judgements = [judge(BOOM, replace(SEEN, left=("file /tmp/[x]",)), 60.0), judge(HANG, SEEN, 60.0)]
        upstream = {BOOM.test: replace(SEEN, ending=Ending.PASSED, report="", left=("file a", "file b"))}
        text = io.StringIO()
        print_report(Console(file=text, width=200), judgements, upstream)
        self.assertRegex(text.getvalue(), r"exceptions: boom +error +rank 1 errored: x +0\.50 +1 +passed +0\.50 +2")
        self.assertIn("left something behind: 1\n", text.getvalue())
        self.assertIn("its wrong verdicts: 2\n", text.getvalue())
        self.assertIn("exceptions: boom: left something behind: file /tmp/[x]\n", text.getvalue())

    def test_what_is_wrong_twice_in_one_fault_is_counted_once(self):
        judgement = judge(BOOM, replace(SEEN, report="rank 0"), 60.0)
        self.assertEqual(2, len(judgement.wrongs))
        self.assertEqual(1, counts([judgement])["wrong causes"])


class Command(TestCase):
    def run_command(self, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                status = fault_table.main(list(arguments))
            except SystemExit as end:
                status = end.code
        return status, output.getvalue()

    def test_some_faults_as_table_and_data(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "faults.json")
            status, output = self.run_command("--only", "set_up: *setup*", "--json", str(path))
            self.assertEqual(2, status, "no fault has such a name")
            status, output = self.run_command("--only", "set_up: half a rank", "--json", str(path))
            self.assertEqual(0, status, output)
            self.assertRegex(
                output, r"set_up: half a rank +error +world_size must be a positive int, not 2.5 .* nothing"
            )
            self.assertIn("wrong verdicts: 0\n", output)
            (fault,) = json.loads(path.read_text())["faults"]
            self.assertEqual(("error", [], []), (fault["verdict"], fault["wrong"], fault["left"]))
            self.assertLess(fault["seconds"], LATE_SECONDS)

    def test_wrong_use(self):
        status, output = self.run_command("--only", "nothing*")
        self.assertEqual(2, status)
        self.assertIn("--only: no fault has a name like 'nothing*'\n", output)
        status, output = self.run_command("--only", "set_up*", "--json", "/no/such/folder/x.json")
        self.assertEqual(2, status)
        self.assertIn("--json: there is no folder /no/such/folder\n", output)


if __name__ == "__main__":
    run_tests()
