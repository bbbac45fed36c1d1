"""Recursions in tracebacks: texts as Python writes them, and a test that recurses, in the test process and in ranks."""

import builtins
import sys
import traceback
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st

from torch_testing_shim._shared import repeated_frames
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._shared.repeated_frames import fold_repeated_frames
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase
from properties import given

SAMPLE = """

def there(n):
    back(n)

def back(n):
    there(n + 1)

class OneProcess(TestCase):
    def test_recurses(self):
        there(0)

    def test_in_a_subtest(self):
        with self.subTest(way="back"):
            back(0)

class Ranks(Spawning):
    def test_recurses(self):
        there(0)

class Threads(SpawningThreads):
    def test_recurses(self):
        there(0)
"""


def frame(name, source="x()"):
    return f'  File "x.py", line 1, in {name}\n    {source}\n'


def unfolded(text):
    """The names of the frames, with those that a line stands for."""
    names = []
    for line in text.splitlines():
        if line.startswith("  File"):
            names.append(line.rpartition(" ")[2])
        elif line.startswith("  [Previous"):
            words = line.split()
            period = 1 if words[1] == "line" else int(words[1])
            names.extend(names[-period:] * int(words[-3]))
    return names


class Texts(TestCase):
    def test_two_functions_that_call_each_other(self):
        text = f"Traceback:\n{frame('test')}{(frame('f') + frame('g')) * 400}{frame('f')}RecursionError: too deep\n"
        self.assertExpectedInline(
            fold_repeated_frames(text),
            """\
Traceback:
  File "x.py", line 1, in test
    x()
  File "x.py", line 1, in f
    x()
  File "x.py", line 1, in g
    x()
  [Previous 2 frames repeated 399 more times]
  File "x.py", line 1, in f
    x()
RecursionError: too deep
""",
        )

    def test_three_times_stay(self):
        text = f"Traceback:\n{(frame('f') + frame('g')) * 3}Error\n"
        self.assertEqual(text, fold_repeated_frames(text))

    def test_variables_may_differ(self):
        text = "".join(frame("f") + f"    n = {n}\n" + frame("g") for n in range(9))
        self.assertEqual(
            frame("f") + "    n = 0\n" + frame("g") + "  [Previous 2 frames repeated 8 more times]\n",
            fold_repeated_frames(text),
        )

    def test_a_stack_of_faulthandlers(self):
        text = (
            'Thread 0x1 (most recent call first):\n  File "x.py", line 9 in leaf\n'
            + '  File "x.py", line 3 in f\n' * 90
        )
        self.assertEqual(
            'Thread 0x1 (most recent call first):\n  File "x.py", line 9 in leaf\n  File "x.py", line 3 in f\n'
            "  [Previous line repeated 89 more times]\n",
            fold_repeated_frames(text),
        )

    def test_an_exception_group(self):
        def f(n):
            return g(n) if n else 1 / 0

        def g(n):
            return f(n - 1)

        group_of = getattr(builtins, "ExceptionGroup", None)
        if group_of is None:
            self.skipTest("exception groups are new in Python 3.11")
        try:
            f(50)
        except ZeroDivisionError as error:
            group = group_of("one", [error])
        folded = fold_repeated_frames("".join(traceback.format_exception(group)))
        self.assertRegex(folded, r"\n    \| +\[Previous 2 frames repeated 49 more times\]\n")

    def test_equal_lines_that_are_no_frames_stay(self):
        text = "same\n" * 50 + "    same\n" * 50
        self.assertEqual(text, fold_repeated_frames(text))

    def test_lines_of_a_message_are_not_compared(self):
        text = "\n".join(f"line {number}" for number in range(100))
        with mock.patch.object(repeated_frames._Block, "is_same_frame", side_effect=AssertionError("100,000 take 3 s")):
            self.assertEqual(text, fold_repeated_frames(text))

    @given(st.lists(st.tuples(st.lists(st.sampled_from("fgh"), min_size=1, max_size=4), st.integers(1, 9)), max_size=6))
    def test_no_frame_is_lost(self, cycles):
        names = [name for cycle, repeats in cycles for name in cycle * repeats]
        text = "".join(map(frame, names))
        folded = fold_repeated_frames(text)
        self.assertEqual(names, unfolded(folded))
        self.assertEqual(folded, fold_repeated_frames(folded))


class Reports(SampleTestCase):
    def test_a_recursion_in_the_test_process_and_in_ranks(self):
        run = self.run_sample(SAMPLE)
        for test in (
            "OneProcess.test_recurses",
            "OneProcess.test_in_a_subtest",
            "Ranks.test_recurses",
            "Threads.test_recurses",
        ):
            with self.subTest(test):
                entry = self.assert_status(run, test, TestStatus.ERROR, "RecursionError: maximum recursion depth")
                self.assertRegex(entry.detail, r"\[Previous 2 frames repeated \d{3} more times\]")
        self.assertLess(len(run.output.splitlines()), 150)
        with_locals = self.run_sample(SAMPLE, "Ranks", TORCH_TESTING_SHIM_SHOWLOCALS="1")
        self.assertLess(len(with_locals.output.splitlines()), 60)


if __name__ == "__main__":
    run_tests()
