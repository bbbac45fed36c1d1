"""Sharding: the shards cover everything exactly once, evenly, and alike on every machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from torch_testing_shim._runner.selection import FileSelection
from torch_testing_shim._runner.sharding import Shard, take_shard
from torch_testing_shim.common_utils import TestCase, run_tests

SELECTIONS = st.lists(st.text(min_size=1, max_size=4), unique=True).map(lambda names: [*map(FileSelection, names)])
COUNTS = st.integers(1, 9)


def shards(selected: list[FileSelection], count: int) -> list[tuple[FileSelection, ...]]:
    return [take_shard(selected, Shard(index, count)) for index in range(1, count + 1)]


class ShardingTest(TestCase):
    @given(SELECTIONS, COUNTS)
    def test_shards_cover_everything_exactly_once(self, selected: list[FileSelection], count: int) -> None:
        self.assertEqual(sorted(selected), sorted(file for shard in shards(selected, count) for file in shard))

    @given(SELECTIONS, COUNTS)
    def test_shards_differ_by_one_file_at_most(self, selected: list[FileSelection], count: int) -> None:
        sizes = [len(shard) for shard in shards(selected, count)]
        self.assertLessEqual(max(sizes) - min(sizes), 1)

    @given(SELECTIONS, COUNTS, st.randoms(use_true_random=False))
    def test_the_order_typed_does_not_matter(self, selected: list[FileSelection], count: int, random: object) -> None:
        shuffled = list(selected)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        self.assertEqual(shards(selected, count), shards(shuffled, count))

    def test_a_shard_keeps_the_tests_that_were_asked_for(self) -> None:
        selected = [FileSelection("b"), FileSelection("a", ("A.one",))]
        self.assertEqual((FileSelection("a", ("A.one",)),), take_shard(selected, Shard(1, 2)))

    def test_a_shard_that_does_not_exist(self) -> None:
        for index, count in ((0, 2), (3, 2), (1, 0), (-1, 2), (1, -1)):
            with self.assertRaisesRegex(ValueError, f"shard {index} of {count}"):
                Shard(index, count)


if __name__ == "__main__":
    run_tests()
