"""Shards cover everything exactly once, evenly, and alike on every machine; parts of a file do, by the real command."""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
import time
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.plan.sharding import Shard, part_count, plan_shards, split_tests, take_shard
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from runner_samples import RunnerTestCase, last_line

NAMES = st.text("abcdef", min_size=1, max_size=4)
SELECTIONS = st.lists(NAMES, unique=True).map(lambda names: [*map(FileSelection, names)])
COUNTS = st.integers(1, 9)
SECONDS = st.floats(0, 10**6)
TIMES = st.dictionaries(NAMES, SECONDS)
#: All files have a time.
KNOWN = st.dictionaries(NAMES, st.integers(0, 1000).map(float), min_size=1, max_size=40)
Shards = tuple[tuple[FileSelection, ...], ...]


def shards(selected: list[FileSelection], count: int, times: dict[str, float]) -> Shards:
    """The shards as as many machines take them."""
    return tuple(take_shard(selected, Shard(index, count), times) for index in range(1, count + 1))


def loads(plan: Shards, times: dict[str, float]) -> list[float]:
    return [sum(times[file.name] for file in shard) for shard in plan]


def best_load(times: list[float], count: int) -> float:
    """The load of the fullest shard in the best of all plans."""
    plans = itertools.product(range(count), repeat=len(times))
    return min(
        max(sum(t for t, at in zip(times, plan, strict=True) if at == n) for n in range(count)) for plan in plans
    )


class ShardingTest(TestCase):
    @given(SELECTIONS, COUNTS, TIMES)
    def test_shards_cover_everything_exactly_once(
        self, selected: list[FileSelection], count: int, times: dict[str, float]
    ) -> None:
        plan = shards(selected, count, times)
        self.assertEqual(sorted(selected), sorted(file for shard in plan for file in shard))

    @given(SELECTIONS, COUNTS, TIMES)
    def test_files_without_a_time_are_spread_evenly(
        self, selected: list[FileSelection], count: int, times: dict[str, float]
    ) -> None:
        unknown = [sum(file.name not in times for file in shard) for shard in shards(selected, count, times)]
        self.assertLessEqual(max(unknown) - min(unknown), 1)

    @given(SELECTIONS, COUNTS, TIMES, st.randoms(use_true_random=False))
    def test_the_order_typed_does_not_matter(
        self, selected: list[FileSelection], count: int, times: dict[str, float], shuffle: random.Random
    ) -> None:
        shuffled, other_times = list(selected), list(times.items())
        shuffle.shuffle(shuffled)
        shuffle.shuffle(other_times)
        self.assertEqual(shards(selected, count, times), shards(shuffled, count, dict(other_times)))

    @given(KNOWN, COUNTS)
    def test_no_shard_has_more_than_its_share_and_one_file(self, times: dict[str, float], count: int) -> None:
        """The bound of every greedy plan: whoever was given a file last had no more than the mean before it."""
        plan = shards([*map(FileSelection, times)], count, times)
        for shard, load in zip(plan, loads(plan, times), strict=True):
            last = min((times[file.name] for file in shard), default=0.0)
            self.assertLessEqual(load - last, (sum(times.values()) - last) / count + 1e-6)

    @given(st.lists(st.integers(0, 20).map(float), min_size=1, max_size=7), st.integers(1, 3))
    def test_the_fullest_shard_is_within_the_bound_of_longest_first(self, seconds: list[float], count: int) -> None:
        """4/3 - 1/(3 count) of the best plan (Graham 1969)."""
        times = {f"test_{number}": one for number, one in enumerate(seconds)}
        fullest = max(loads(shards([*map(FileSelection, times)], count, times), times))
        self.assertLessEqual(fullest, (4 / 3 - 1 / (3 * count)) * best_load(seconds, count) + 1e-6)

    def test_a_known_plan(self) -> None:
        times = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 3.0, "e": 3.0}
        plan = plan_shards([*map(FileSelection, "abcdefg")], 2, times)
        self.assertEqual(["ad", "bce"], ["".join(file.name for file in shard if file.name in times) for shard in plan])
        self.assertEqual([1, 1], [sum(file.name not in times for file in shard) for shard in plan])

    def test_a_shard_keeps_the_tests_that_were_asked_for(self) -> None:
        selected = [FileSelection("b"), FileSelection("a", ("A.one",))]
        self.assertEqual((FileSelection("a", ("A.one",)),), take_shard(selected, Shard(1, 2)))

    def test_two_thousand_files_are_planned_well_under_a_second(self) -> None:
        times = {f"distributed/test_{number}": number * 7919 % 1000 / 7 for number in range(2000)}
        selected = [*map(FileSelection, times), *(FileSelection(f"test_new_{number}") for number in range(200))]
        began = time.process_time()  # what a loaded machine does not lengthen
        plan = shards(selected, 4, times)
        self.assertLess(time.process_time() - began, 1.0)
        self.assertEqual([550] * 4, [round(len(shard), -1) for shard in plan])

    def test_a_shard_that_does_not_exist(self) -> None:
        for index, count in ((0, 2), (3, 2), (1, 0), (-1, 2), (1, -1)):
            with self.assertRaisesRegex(ValueError, f"shard {index} of {count}"):
                Shard(index, count)


TESTS = st.lists(st.from_regex(r"\A[A-D]\.[a-z]{1,2}\Z"), max_size=40)


class SplitTest(TestCase):
    @given(TESTS, st.dictionaries(st.from_regex(r"\A[A-D]\.[a-z]\Z"), st.floats(0, 1e6)), st.integers(1, 9))
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
        even = ["A.x", "A.y", "B.x", "B.y"]
        self.assertEqual([("A.x", "A.y"), ("B.x", "B.y")], list(split_tests(even, {"A.x": 1.0}, 2)))
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
        self.assertEqual(2, part_count("b", ("b",), {"b": 20.5}, jobs=4), "a part has 20 seconds")
        unknown = [f"x{number}" for number in range(100)]
        self.assertEqual(2, part_count("a", ("a", *unknown), {"a": 100.0}, jobs=2), "of unknown length, so no share")
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
