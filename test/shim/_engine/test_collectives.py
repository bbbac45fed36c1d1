"""Where ranks parted, from constructed logs; real ones are in `test_engine_collective_log`."""

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._engine.collectives import (
    HEADER_BYTES,
    INCOMPLETE,
    LINE_BYTES,
    LINES,
    Entered,
    GroupHeader,
    group_title,
    partings,
    read_log,
)
from torch_testing_shim._engine.stacks import Place
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collective_logs import log_of
from properties import given


def parted(*logs, places=None):
    """The text about the ranks that have these logs."""
    return "\n".join(parting.lines(places or {}) for parting in partings(dict(enumerate(logs))))


def headline(*logs):
    (parting,) = partings(dict(enumerate(logs)))
    return parting.headline


class Partings(TestCase):
    def test_some_entered_and_others_did_not(self):
        ahead = ["all_reduce [3]", "barrier"]
        logs = [log_of(rank, 4, *(ahead[:1] if rank == 1 else ahead)) for rank in range(4)]
        places = {1: Place("test_x.py:38", "test_a", False), 0: Place("test_x.py:39", "barrier", True)}
        self.assertExpectedInline(
            parted(*logs, places=places),
            """\
collective 2 of the default group:
  rank 0 entered barrier (now at test_x.py:39)
  rank 1 did not (now at test_x.py:38)
  ranks 2, 3 entered barrier""",
        )
        expected = "rank 1 entered nothing as collective 2 of the default group, ranks 0, 2, 3 entered barrier"
        self.assertEqual(expected, headline(*logs))

    def test_different_collectives_and_sizes(self):
        for one, other in (("all_reduce [3]", "all_gather [3]"), ("all_reduce [3]", "all_reduce [7]")):
            logs = [log_of(0, 3, "barrier", one), log_of(1, 3, "barrier", other), log_of(2, 3, "barrier", one)]
            one, other = one.replace(" ", " of "), other.replace(" ", " of ")
            self.assertEqual(
                f"collective 2 of the default group:\n  ranks 0, 2 entered {one}\n  rank 1 entered {other}",
                parted(*logs),
            )
            self.assertEqual(
                f"rank 1 entered {other} as collective 2 of the default group, ranks 0, 2 entered {one}",
                headline(*logs),
            )

    def test_types_and_details_are_told_where_they_differ(self):
        for field, one, other, told in (
            ("types", "float32", "float64", ("reduce of [3] float32", "reduce of [3] float64")),
            ("details", "SUM, root 0", "MAX, root 0", ("reduce (SUM, root 0) of [3]", "reduce (MAX, root 0) of [3]")),
        ):
            entered = [Entered("reduce", shapes="[3]", **{field: value}) for value in (one, other)]
            self.assertEqual(
                f"collective 1 of the default group:\n  rank 0 entered {told[0]}\n  rank 1 entered {told[1]}",
                parted(log_of(0, 2, entered[0]), log_of(1, 2, entered[1])),
            )

    def test_types_and_details_are_left_out_where_they_are_the_same_or_names_differ(self):
        one = Entered("reduce", details="SUM, root 0", types="float32", shapes="[3]", checksum="a")
        for other, told in (
            (replace(one, shapes="[7]", checksum="b"), ("reduce of [3]", "reduce of [7]")),
            (replace(one, name="gather", details="root 0", types="int64"), ("reduce of [3]", "gather of [3]")),
            (replace(one, types="int64"), ("reduce of [3] float32", "reduce of [3] int64")),
        ):
            self.assertEqual(
                f"rank 0 entered {told[0]} as collective 1 of the default group, rank 1 entered {told[1]}",
                headline(log_of(0, 2, one), log_of(1, 2, other)),
            )

    def test_shapes_may_differ_where_the_collective_lets_them(self):
        entered = [Entered("all_to_all_single", shapes=shapes, checksum="0") for shapes in ("[3]", "[5]")]
        self.assertEqual("", parted(log_of(0, 2, entered[0]), log_of(1, 2, entered[1])))
        sizes = [Entered("all_gather", shapes="[3]", checksum=checksum) for checksum in "ab"]
        self.assertIn(
            "rank 1 entered all_gather of [3] with other sizes", parted(*[log_of(r, 2, sizes[r]) for r in (0, 1)])
        )

    def test_a_rank_that_entered_nothing_at_all(self):
        self.assertIn("rank 1 did not", parted(log_of(0, 2, "barrier"), log_of(1, 2)))
        only_a_member = GroupHeader("0", "default_pg", 1, 1, (0, 1)).to_line().decode()
        self.assertIn("rank 1 did not", parted(log_of(0, 2, "barrier"), only_a_member))
        self.assertEqual("", parted(only_a_member, only_a_member))

    def test_a_rank_of_which_nothing_is_known_is_not_said_to_be_absent(self):
        self.assertEqual("", parted(log_of(0, 2, "barrier"), None))
        self.assertEqual([], partings({}))

    def test_each_group_has_its_own_parting(self):
        pair = {"name": "7", "description": "tp", "members": (0, 2)}
        logs = [
            log_of(0, 3, "barrier", "barrier") + log_of(0, 3, "reduce", **pair),
            log_of(1, 3, "barrier"),
            log_of(2, 3, "barrier", "barrier") + log_of(2, 3, "gather", **pair),
        ]
        self.assertExpectedInline(
            parted(*logs),
            """\
collective 2 of the default group:
  ranks 0, 2 entered barrier
  rank 1 did not
collective 1 of group tp:
  rank 0 entered reduce
  rank 2 entered gather""",
        )

    def test_a_group_that_was_started_anew(self):
        first = [log_of(rank, 2, "all_reduce") for rank in (0, 1)]
        self.assertEqual(
            "collective 1 of the default group:\n  rank 0 entered barrier\n  rank 1 did not",
            parted(first[0] + log_of(0, 2, "barrier", generation=2), first[1] + log_of(1, 2)),
        )

    def test_numbers_that_the_test_gave_its_ranks(self):
        self.assertIn("rank 0 did not", parted(log_of(1, 2, "barrier"), log_of(0, 2, "barrier", "barrier")))

    def test_what_has_been_written_over_is_no_evidence(self):
        later = log_of(1, 2, "barrier", "barrier", first=40)
        self.assertIn("collective 40", parted(log_of(0, 2, "barrier", first=1), later))
        self.assertEqual("", parted(log_of(0, 2, *["barrier"] * 2, first=40), later))

    def test_ranks_that_agree(self):
        self.assertEqual("", parted(*[log_of(rank, 2, "barrier", "all_reduce [3]") for rank in (0, 1)]))

    def test_a_tie_blames_nobody_alone_and_puts_those_who_did_not_come_first(self):
        self.assertEqual(
            "rank 1 entered nothing as collective 1 of the default group, rank 0 entered barrier",
            headline(log_of(0, 2, "barrier"), log_of(1, 2)),
        )

    def test_a_line_that_was_not_finished_is_passed_over(self):
        log = log_of(0, 2, "barrier", "barrier")
        self.assertEqual("", parted(log[: log.rindex("2\t") + 4] + "\n", log_of(1, 2, "barrier")))

    @given(st.lists(st.sampled_from(["barrier", "all_reduce [3]"]), min_size=1), st.integers(0, 9), st.integers(2, 5))
    def test_the_one_rank_that_differs_leads(self, entered, place, world_size):
        place %= len(entered)
        odd = [*entered[:place], "gather [3]", *entered[place + 1 :]]
        logs = [log_of(rank, world_size, *(odd if rank == 1 else entered)) for rank in range(world_size)]
        (parting,) = partings(dict(enumerate(logs)))
        self.assertTrue(parting.is_mismatch)
        self.assertEqual(place + 1, parting.number)
        if world_size > 2:
            self.assertEqual([1], parting.camps[0][1])


class Texts(TestCase):
    def test_a_header_comes_back(self):
        header = GroupHeader("0", 'a "group"\n', 2, 3, (0, 3))
        line = header.to_line()
        self.assertEqual(1, line.count(b"\n"))
        self.assertEqual(header, GroupHeader.from_line(line.decode()))

    def test_a_header_that_does_not_fit_is_refused(self):
        def header(size):
            """A header whose text has that many bytes."""
            short = GroupHeader("0", "", 1, 0, (0,))
            return replace(short, description="x" * (size - len(json.dumps(asdict(short)))))

        for size in (100, HEADER_BYTES - 1):
            self.assertEqual(HEADER_BYTES, len(header(size).to_line()))
        with self.assertRaisesRegex(ValueError, "a group of 1 ranks has too long a header"):
            header(HEADER_BYTES).to_line()

    def test_a_groups_part_of_a_log_fills_its_pages(self):
        self.assertEqual(0, (HEADER_BYTES + LINES * LINE_BYTES) % 4096)

    def test_a_log_is_read_without_its_blanks_and_empty_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log")
            path.write_bytes(b'{"name": "0"}   \n1\t\tbarrier\t\t\t  \n\n   \n2\t\tgather\t\t\t\xff\n')
            self.assertEqual('{"name": "0"}\n1\t\tbarrier\t\t\t\n2\t\tgather\t\t\t\ufffd\n', read_log(path))
            path.write_bytes(INCOMPLETE + b"\n1\t\tbarrier\t\t\t\n")
            self.assertIsNone(read_log(path))

    def test_no_log(self):
        self.assertIsNone(read_log(Path("/no/such/file")))

    def test_a_group_is_known_by_its_description_or_by_its_name(self):
        titles = [group_title("7", description) for description in ("default_pg", "", "undefined", "tp")]
        self.assertEqual(["the default group", "group 7", "group 7", "group tp"], titles)


if __name__ == "__main__":
    run_tests()
