"""A file in parts: every test in exactly one, classes whole where they can be, and the real command that folds them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from hypothesis import given, strategies as st

from torch_testing_shim._runner.plan.split import part_count, split_tests
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RunnerTestCase, last_line

NAMES = st.lists(st.from_regex(r"\A[A-D]\.[a-z]{1,2}\Z"), max_size=40)


class SplitTest(TestCase):
    @given(NAMES, st.dictionaries(st.from_regex(r"\A[A-D]\.[a-z]\Z"), st.floats(0, 1e6)), st.integers(1, 9))
    def test_every_test_is_in_exactly_one_part_in_order(
        self, tests: list[str], seconds: dict[str, float], count: int
    ) -> None:
        parts = split_tests(tests, seconds, count)
        self.assertEqual(sorted(set(tests)), sorted(test for part in parts for test in part))
        self.assertLessEqual(len(parts), count)
        order = list(dict.fromkeys(tests))
        for part in parts:
            self.assertTrue(part)
            self.assertEqual(sorted(part, key=order.index), list(part))

    def test_classes_stay_whole_unless_one_is_larger_than_a_part(self) -> None:
        tests = [f"{name}.{test}" for name in "ABCD" for test in "xy"]
        self.assertEqual(
            [("A.x", "A.y", "C.x", "C.y"), ("B.x", "B.y", "D.x", "D.y")], list(split_tests(tests, {"A.x": 1.0}, 2))
        )
        large = {"A.x": 9.0, "A.y": 9.0, "B.x": 1.0}
        self.assertEqual([("A.x", "B.x"), ("A.y",)], list(split_tests(list(large), large, 2)))

    def test_few_tests_of_unknown_length_are_not_worth_it(self) -> None:
        self.assertEqual(1, len(split_tests([f"A.{n}" for n in range(19)], {}, 4)))
        self.assertEqual(2, len(split_tests([f"A.{n}" for n in range(20)], {}, 4)))

    def test_how_many_parts(self) -> None:
        files, seconds = ("a", "b", "c"), {"a": 300.0, "b": 10.0, "c": 10.0}
        self.assertEqual([2, 1, 1], [part_count(name, files, seconds, jobs=2) for name in files])
        self.assertEqual(4, part_count("a", files, seconds, jobs=4))
        self.assertEqual(1, part_count("b", ("b",), {"b": 19.0}, jobs=4), "too short for two parts")
        self.assertEqual(
            (4, 2, 1),
            (part_count("x", ("x",), {}, 4), part_count("x", ("x", "y"), {}, 4), part_count("x", files, {}, 2)),
        )


SOURCE = """
import os
from torch_testing_shim.common_utils import TestCase, run_tests

class {name}(TestCase):
    def test_a(self): pass
    def test_b(self): self.fail("b")
    def test_c(self): self.skipTest("c")

class Dies(TestCase):
    def test_a(self): pass
    def test_b(self): os._exit(3)
    def test_c(self): pass

if __name__ == "__main__":
    run_tests()
"""


class CommandTest(RunnerTestCase):
    def test_a_split_file_comes_to_the_same(self) -> None:
        """Its times make the file large; one of its parts dies, and goes on."""
        self.write("test_x", SOURCE.format(name="First"))
        times = self.tree / "times.json"
        tests = {name: {"seconds": 50.0, "at": 1.0, "ranks": 1} for name in ("First.test_a", "Dies.test_a")}
        times.write_text(json.dumps({"version": 1, "files": {"test_x": {"seconds": 100.0, "at": 1.0, "tests": tests}}}))
        whole = self.run_test("--keep-going", "-v")
        split = self.run_test("--keep-going", "-v", "-j2", "--times", str(times))
        for run in (whole, split):
            self.assertEqual((1, "3 passed, 2 failed, 1 skipped"), (run.returncode, last_line(run.stdout)), run.stdout)
        tables = [re.split(r"(?m)^test_x  .*\ds\n", run.stdout)[-1] for run in (whole, split)]
        self.assertEqual(*[sorted(table.splitlines()) for table in tables])
        self.assertNotIn("part", whole.stdout)
        for part in ("names of its tests", "part 2 of 2", "part 1 of 2, the rest"):
            self.assertIn(f"test_x ({part})", split.stdout)
        self.assertNothingLeft()


if __name__ == "__main__":
    run_tests()
