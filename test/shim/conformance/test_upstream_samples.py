"""Files in PyTorch's style come to what is recorded of them; and what compares them with PyTorch's harness is right.

The comparison itself is `test/conformance/compare_samples.py`: it takes longer than the whole suite.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from unittest import mock

from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[3]
CONFORMANCE = ROOT / "test" / "conformance"
sys.path.insert(0, str(CONFORMANCE))

import compare_samples  # noqa: E402
from conform.sample_files import FileRun, clean_environment, read_record, sample_files  # noqa: E402
from conform.sample_verdicts import Pair, UpstreamError, outcomes_of, pairs_of, problems, verdict  # noqa: E402

#: Files that the suite has time for: verdicts of ranks, skips, and set-ups of classes: most of the redirect.
IN_THE_SUITE = (
    "test_class_skips",
    "test_class_state",
    "test_continuous",
    "test_continuous_failure",
    "test_device_types_in_ranks",
    "test_dying_ranks",
    "test_exit_code_checks",
    "test_exit_code_skips",
    "test_failing_ranks",
    *(["test_local_tensors"] if importlib.util.find_spec("torch.distributed._local_tensor") else []),
    "test_overridden_run",
    "test_parametrize",
    "test_partial_ranks",
    "test_pytest_file",
    "test_sharded_tensors",
    "test_subtests",
    "test_threads",
)
#: Everything that may happen to a test, by unittest alone: no harness has a part in it.
FILE = """
    import unittest

    class Plain(unittest.TestCase):
        def test_passes(self): pass
        def test_fails(self): self.fail("so")
        def test_errs(self): raise KeyError("so")
        def test_skips(self): self.skipTest("so")
        @unittest.expectedFailure
        def test_fails_as_expected(self): self.fail("so")
        @unittest.expectedFailure
        def test_passes_unexpectedly(self): pass
        def test_of_subtests(self):
            with self.subTest(1): self.skipTest("so")
            with self.subTest(2): self.fail("so")
        def test_fails_twice(self):
            self.addCleanup(lambda: {}["so"])
            self.fail("so")

    class CannotBegin(unittest.TestCase):
        @classmethod
        def setUpClass(cls): raise RuntimeError("so")
        def test_one(self): pass

    class DoesNotBegin(unittest.TestCase):
        @classmethod
        def setUpClass(cls): raise unittest.SkipTest("so")
        def test_one(self): pass

    class TakesTheProcessAlong(unittest.TestCase):
        def test_one(self):
            import os
            os._exit(3)

    class Unreached(unittest.TestCase):
        def test_one(self): pass

    if __name__ == "__main__":
        unittest.main()
"""
OUTCOMES = {
    "Plain.test_passes": "passed",
    "Plain.test_fails": "failed",
    "Plain.test_errs": "error",
    "Plain.test_skips": "skipped",
    "Plain.test_fails_as_expected": "expected failure",
    "Plain.test_passes_unexpectedly": "unexpected success",
    "Plain.test_of_subtests": "failed",
    "Plain.test_fails_twice": "error",
    "CannotBegin.setUpClass": "error",
    "CannotBegin.test_one": "error",
    "DoesNotBegin.test_one": "skipped",
    "TakesTheProcessAlong.test_one": "no verdict",
    "Unreached.test_one": "no verdict",
}
WRONG = UpstreamError("passed", "a rank died")


class SamplesTest(TestCase):
    def test_outcomes_are_the_recorded_ones(self) -> None:
        """Of the files in `IN_THE_SUITE`; `compare_samples.py --ours` asks all."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.jsonl")
            paths = [str(sample_files()[name]) for name in IN_THE_SUITE]
            command = [sys.executable, str(ROOT / "run_test.py"), "--upstream", *paths, "--keep-going", "-j", "2"]
            command += ["--json-lines", str(report), "--times", str(Path(folder, "times.json"))]
            done = subprocess.run(
                command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False
            )
            self.assertEqual(1, done.returncode, done.stdout + done.stderr)
            records = [json.loads(line) for line in report.read_text().splitlines()]
        found: dict[str, dict[str, str]] = {}
        for record in records:
            if record["record"] == "test":
                found.setdefault(record["file"], {})[record["test"]] = record["status"]
        record = read_record()
        self.assertEqual({name: record[name] for name in IN_THE_SUITE}, found)

    def test_every_pattern_has_a_file(self) -> None:
        self.assertGreaterEqual(len(sample_files()), 25)
        self.assertEqual(set(sample_files()), set(read_record()))
        for name, path in sample_files().items():
            with self.subTest(name):
                text = path.read_text()
                self.assertRegex(text, r'\A"""[^"]{30,}"""\n')
                self.assertNotIn("torch_testing_shim", text)


class RecordTest(TestCase):
    def record(self, module: str, journal: Path, file: Path) -> int:
        command = [sys.executable, "-m", f"conform.{module}", str(journal), str(file)]
        path = os.pathsep.join([str(CONFORMANCE), str(ROOT)])
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
        ).returncode

    def test_the_same_by_pytest(self) -> None:
        """But for fixtures of classes, which pytest reports with their tests."""
        with tempfile.TemporaryDirectory() as folder:
            file, journal = Path(folder, "test_file.py"), Path(folder, "journal")
            file.write_text(textwrap.dedent(FILE))
            self.assertEqual(3, self.record("pytest_record", journal, file))
            contents = read_journal(journal)
        found = outcomes_of(contents)
        of_tests = {name: outcome for name, outcome in OUTCOMES.items() if not name.endswith(".setUpClass")}
        self.assertEqual(found.keys(), of_tests.keys())
        self.assertEqual({}, {name: says for name, says in found.items() if verdict(says) != verdict(of_tests[name])})

    def test_everything_that_may_happen(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file, journal = Path(folder, "test_file.py"), Path(folder, "journal")
            file.write_text(textwrap.dedent(FILE))
            self.assertEqual(3, self.record("unittest_record", journal, file))
            contents = read_journal(journal)
        self.assertEqual(OUTCOMES, outcomes_of(contents))
        self.assertFalse(contents.is_finished)
        self.assertEqual(("TakesTheProcessAlong.test_one",), contents.unfinished)


class VerdictsTest(TestCase):
    def test_outcomes_of_a_journal(self) -> None:
        entry = JournalEntry("A.a", TestStatus.PASSED, 0.1)
        self.assertEqual(
            {"A.a": "passed", "A.b": "no verdict", "A.c": "no verdict"},
            outcomes_of(JournalContents(("A.a", "A.b"), (entry,), ("A.c",))),
        )

    def test_pairs(self) -> None:
        pairs = pairs_of("f", {"A.a": "error", "A.b": "passed"}, {"A.a": "failed", "A.c": "passed"})
        self.assertEqual(["f::A.a", "f::A.b", "f::A.c"], [pair.test for pair in pairs])
        self.assertEqual(["same verdict", "DIFFERENT", "DIFFERENT"], [pair.word for pair in pairs])
        self.assertEqual("not there", pairs[1].ours)

    def test_what_counts_as_the_same(self) -> None:
        words = {"failed": "n", "error": "n", "no verdict": "n", "passed": "p", "skipped": "s"}
        words |= {"expected failure": "e", "unexpected success": "u", "not there": "t"}
        for left, right in ((left, right) for left in words for right in words):
            with self.subTest(left=left, right=right):
                self.assertEqual(words[left] == words[right], Pair("f::A.a", left, right).is_same)

    def test_problems(self) -> None:
        same, other = Pair("f::A.a", "error", "failed"), Pair("f::A.b", "passed", "error")
        for name, pairs, errors, expected in (
            ("nothing differs", [same], {}, []),
            ("explained", [same, other], {"f::A.b": WRONG}, []),
            ("not explained", [same, other], {}, ["f::A.b: upstream says passed, ours error"]),
            (
                "explained, and the same",
                [same],
                {"f::A.a": WRONG},
                ["f::A.a: is said to go wrong upstream, and both say failed"],
            ),
            (
                "explained, and gone",
                [same],
                {"f::A.b": WRONG},
                ["f::A.b: is said to go wrong upstream, and there is no such test"],
            ),
            (
                "wrong in another way",
                [Pair("f::A.b", "skipped", "error")],
                {"f::A.b": WRONG},
                ["f::A.b: upstream is said to say passed, and says skipped"],
            ),
        ):
            with self.subTest(name):
                self.assertEqual(expected, problems(pairs, errors))

    def test_outcomes_that_are_not_the_recorded_ones(self) -> None:
        recorded = {"f": {"A.a": "passed", "A.b": "failed"}}
        with mock.patch.object(compare_samples, "read_record", lambda: recorded):
            found = compare_samples.departures({"f": FileRun({"A.a": "passed", "A.b": "error"}, 1.0, "")})
        self.assertEqual({"f::A.b": "f::A.b: recorded is failed, ours is error"}, found)

    def test_the_table_speaks_of_files_that_are_there(self) -> None:
        record = read_record()
        for test in compare_samples.KNOWN:
            file, _, name = test.partition("::")
            self.assertIn(name, record[file])


class CommandTest(TestCase):
    def run_command(self, *arguments: str) -> tuple[object, str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                status: object = compare_samples.main(list(arguments))
            except SystemExit as end:
                status = end.code
        return status, output.getvalue()

    def test_one_file_under_both(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "samples.json")
            with mock.patch.object(compare_samples, "read_record", dict):  # that of another torch
                status, output = self.run_command("--only", "test_parametrize", "--json", str(path))
            data = json.loads(path.read_text())
        self.assertEqual(0, status, output)
        self.assertRegex(output, r"\Atest_parametrize  upstream \d+\.\d s, ours \d+\.\d s\n")
        self.assertIn("  failed              failed              same          ParametrizeTest.test_pairs_un", output)
        self.assertRegex(output, r"1 files, 15 tests: 15 the same .*, 0 different, 0 of them where upstream is wrong ")
        self.assertEqual(data["outcomes"]["upstream"], data["outcomes"]["ours"])
        self.assertEqual([], data["problems"])

    def test_wrong_usage(self) -> None:
        for arguments, message in (
            (("--only", "nothing*"), "--only: no file has a name like 'nothing*'"),
            (("--json", "/no/such/folder/x.json"), "--json: there is no folder /no/such/folder"),
        ):
            with self.subTest(arguments):
                status, output = self.run_command(*arguments)
                self.assertEqual(2, status)
                self.assertIn(message, output)


if __name__ == "__main__":
    run_tests()
