"""One file, four ways to run it: `python`, `python -m unittest`, `pytest` and run_test.py work, and agree."""

import re
import shutil
import signal
import time
import xml.etree.ElementTree as ElementTree

from harness_samples import ROOT, SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import run_tests

SAMPLE = """
class Ways(DTensorTestBase):
    world_size = 2

    @with_comms
    @parametrize("number", [1, 2])
    def test_passes(self, number):
        total = torch.tensor([number])
        dist.all_reduce(total)
        self.assertEqual(total, torch.tensor([2 * number]))
        time.sleep(0.2)

    def test_fails(self):
        self.assertEqual(self.rank, 0)

    def test_dies(self):
        if self.rank == 1:
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    @skip_if_lt_x_gpu(64)
    def test_skips(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()


class Plain(TestCase):
    def test_in_the_test_process(self):
        torch.rand(300, 300) @ torch.rand(300, 300)


instantiate_parametrized_tests(Ways)
"""

EXPECTED = {
    "Ways.test_passes_number_1": "passed",
    "Ways.test_passes_number_2": "passed",
    "Ways.test_fails": "failed",
    "Ways.test_dies": "failed",
    "Ways.test_skips": "skipped",
    "Ways.test_expected": "passed",
    "Plain.test_in_the_test_process": "passed",
}


class EntryPoints(SampleTestCase):
    def environment(self, **extra):
        """With the machine's own device, of which there are too few for a test that skips."""
        return super().environment(**{"TORCH_TESTING_SHIM_DEVICE": "", **extra})

    def setUp(self):
        super().setUp()
        self.sample = self.write_sample(SAMPLE)

    def check_report(self, output):
        """Check that people see the same of a failure everywhere."""
        self.assertRegex(output, r"rank 1 failed: AssertionError: Scalars are not equal!")
        self.assertRegex(output, r"rank 1 \(pid \d+\) died: killed by SIGKILL, without finishing its test")
        self.assert_nothing_left()

    def test_python(self):
        self.is_cold = True  # one of the ways starts as a user's command does
        run = self.run_command(str(self.sample))
        self.assertEqual(1, run.exit_code)
        words = {TestStatus.PASSED: "passed", TestStatus.EXPECTED_FAILURE: "passed", TestStatus.SKIPPED: "skipped"}
        self.assertEqual(EXPECTED, {name: words.get(entry.status, "failed") for name, entry in run.entries.items()})
        self.check_report(run.output)
        self.check_ranks(run.entries)

    def check_ranks(self, entries):
        """The journal has one record for each rank of a test that had ranks."""
        told = {name: [rank.status for rank in entry.ranks] for name, entry in entries.items()}
        expected = {
            "Ways.test_passes_number_1": ["passed", "passed"],
            "Ways.test_passes_number_2": ["passed", "passed"],
            "Ways.test_fails": ["passed", "failed"],
            "Ways.test_dies": ["passed", "died"],
            "Ways.test_skips": [],
            "Ways.test_expected": ["failed", "failed"],
            "Plain.test_in_the_test_process": [],
        }
        self.assertEqual(expected, told)
        for entry in entries.values():
            self.assertLess(abs(entry.started_at - time.time()), 300, entry)
            for rank in entry.ranks:
                self.assertGreater(rank.pid, 0)
                self.assertGreaterEqual(rank.started_at, entry.started_at - 0.01)
                self.assertLessEqual(rank.started_at + rank.seconds, entry.started_at + entry.seconds + 0.01)
        for rank in entries["Ways.test_passes_number_1"].ranks:
            self.assertGreaterEqual(rank.seconds, 0.2)
        died = entries["Ways.test_dies"].ranks[1]
        self.assertEqual((-signal.SIGKILL, "last words\n", ""), (died.exit_code, died.output, died.headline))
        self.assertRegex(entries["Ways.test_fails"].ranks[1].headline, "AssertionError: Scalars are not equal!")

    def test_use_pytest_and_child_processes_journal_the_same(self):
        run = self.run_command(str(self.sample), "--use-pytest")
        self.assertEqual(1, run.exit_code)
        self.check_ranks(run.entries)
        entries = run.entries
        run = self.run_command(str(self.sample), "--run-parallel=2", "Ways.test_dies")  # each child imports torch
        self.assertEqual(1, run.exit_code)
        self.check_ranks(entries | run.entries)

    def test_unittest(self):
        run = self.run_command("-m", "unittest", "-v", "test_sample")
        self.assertEqual(1, run.exit_code)
        lines = re.findall(r"^(test_\w+) \(test_sample\.(\w+)(?:\.\w+)?\) \.\.\. (\w+)", run.output, re.MULTILINE)
        words = {"ok": "passed", "expected": "passed", "skipped": "skipped"}
        self.assertEqual(EXPECTED, {f"{cls}.{name}": words.get(word, "failed") for name, cls, word in lines})
        self.check_report(run.output)

    def test_pytest(self):
        report = self.folder / "report.xml"
        run = self.run_command("-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", "test_sample.py")
        self.assertEqual(1, run.exit_code)
        found = {}
        for case in ElementTree.parse(report).iter("testcase"):
            # pytest calls an expected failure skipped, of type pytest.xfail
            kinds = {child.get("type") if child.tag == "skipped" else child.tag for child in case}
            name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
            is_skipped = any(kind == "pytest.skip" for kind in kinds)
            found[name] = "skipped" if is_skipped else "failed" if kinds & {"failure", "error"} else "passed"
        self.assertEqual(EXPECTED, found)
        self.check_report(run.output)

    def test_run_test(self):
        tree = self.folder / "tree"
        (tree / "test").mkdir(parents=True)
        shutil.copy(ROOT / "run_test.py", tree)
        shutil.copy(self.sample, tree / "test")
        run = self.run_command(str(tree / "run_test.py"))
        self.assertEqual(1, run.exit_code)
        self.assertEqual("4 passed, 2 failed, 1 skipped", run.output.splitlines()[-1])
        self.check_report(run.output)


class OneJournalPerRun(SampleTestCase):
    def test_a_file_that_a_test_runs_does_not_write_into_its_journal(self):
        inner = self.write_sample("class Inner(TestCase):\n    def test_inner(self): pass\n", "inner.py")
        run = self.run_sample(
            f"""
            class Outer(TestCase):
                def test_outer(self):
                    done = subprocess.run([sys.executable, {str(inner)!r}], capture_output=True, text=True)
                    self.assertIn("Ran 1 test", done.stderr)

                def test_outer_changes_folder(self):
                    os.chdir(os.environ["TMPDIR"])
            """,
            TORCH_TESTING_SHIM_JOURNAL="journal",
        )
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual({"Outer.test_outer", "Outer.test_outer_changes_folder"}, set(run.entries))

    def test_nothing_selected_is_journaled_as_such(self):
        sample = str(self.write_sample("class Any(TestCase):\n    def test_any(self): pass\n"))
        process = self.start([sample, "-k", "nowhere"])
        output, _ = process.communicate(timeout=60)
        self.assertEqual(5, process.returncode, output)
        journal = read_journal(self.folder / "journal")
        self.assertEqual(((), (), True), (journal.planned, journal.entries, journal.is_finished))


if __name__ == "__main__":
    run_tests()
