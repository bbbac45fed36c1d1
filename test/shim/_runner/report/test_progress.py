"""How far a run has come, and how long it will go on."""

from __future__ import annotations

from unittest import mock

from torch_testing_shim._runner.report.progress import Progress, RunningProcess, seconds_left, short_duration
from torch_testing_shim._shared.journal_reading import JournalNews
from torch_testing_shim.common_utils import TestCase, run_tests


class ProgressTest(TestCase):
    def test_the_time_left(self) -> None:
        expected = {"a": 10.0, "b": 20.0}
        self.assertEqual(30.0, seconds_left(["a", "b"], {}, expected, 1))
        self.assertEqual(20.0, seconds_left(["a", "b"], {}, expected, 2))  # b alone takes that long
        self.assertEqual(14.0, seconds_left(["a"], {"b": 16.0}, expected, 1))
        self.assertEqual(0.0, seconds_left([], {"b": 100.0}, expected, 1))
        self.assertEqual(15.0, seconds_left(["never seen"], {}, expected, 1))  # as others on average
        self.assertIsNone(seconds_left(["a"], {}, {}, 1))

    def test_durations_are_read_at_a_glance(self) -> None:
        shown = [short_duration(seconds) for seconds in (0.2, 59.4, 61, 3540, 4800)]
        self.assertEqual(["1 s", "59 s", "1 min", "59 min", "1 h 20 min"], shown)

    def test_the_lines(self) -> None:
        progress = Progress({"test_a": 100.0, "test_b": 200.0}, jobs=2)
        progress.plan(["test_a", "test_b", "test_c"])
        self.assertEqual((1, 3), progress.place("test_a"))
        self.assertEqual((2, 3), progress.place("test_b"))
        self.assertEqual((1, 3), progress.place("test_a"))  # its second process
        progress.add_tests(ended=3, failed=1)
        progress.end_file("test_a")
        self.assertEqual("1/3 files  3 tests, 1 failed  about 3 min left", progress.summary_line())
        process = RunningProcess("test_b", "B again", mock.Mock())
        progress.processes.append(process)
        self.assertEqual(["test_b (B again)  0/0  starting  0s"], progress.process_lines())
        process.on_journal(JournalNews(planned=2, now="B.one"))
        self.assertEqual(["test_b (B again)  0/2  B.one  0s"], progress.process_lines())


if __name__ == "__main__":
    run_tests()
