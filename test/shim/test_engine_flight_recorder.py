"""Where ranks parted, from dumps of the Flight Recorder: one that torch made, and constructed ones."""

import json

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _dump_fr_trace_json

from torch_testing_shim._engine.flight_recorder import (
    Collective,
    collectives_in,
    desync_lines,
    latest_entries,
    mismatch_lines,
)
from torch_testing_shim._engine.stacks import Place
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import TestCase, run_tests

GROUP = "the default group"


def entered(number, name, *sizes, is_done=False, group=GROUP, types=()):
    return Collective(group, number, name, sizes, is_done, types=types)


class DesyncLines(TestCase):
    def test_some_entered_and_others_did_not(self):
        barrier = [entered(1, "all_reduce", (3,), is_done=True), entered(2, "barrier")]
        flights = {0: barrier, 1: barrier[:1], 2: barrier, 3: barrier}
        places = {1: Place("test_x.py:38", "test_a", False), 0: Place("test_x.py:39", "barrier", True)}
        self.assertExpectedInline(
            "\n".join(desync_lines(flights, places)),
            """\
collective 2 of the default group:
  rank 0 entered barrier (now at test_x.py:39)
  rank 1 did not (now at test_x.py:38)
  ranks 2, 3 entered barrier""",
        )

    def test_different_collectives(self):
        flights = {0: [entered(1, "all_reduce", (3,))], 1: [entered(1, "all_gather", (3,))]}
        self.assertExpectedInline(
            "\n".join(desync_lines(flights, {})),
            """\
collective 1 of the default group:
  rank 0 entered all_reduce of [3]
  rank 1 entered all_gather of [3]""",
        )

    def test_different_sizes(self):
        flights = {0: [entered(1, "all_reduce", (3,))], 1: [entered(1, "all_reduce", (2, 2))]}
        self.assertExpectedInline(
            "\n".join(desync_lines(flights, {})),
            """\
collective 1 of the default group:
  rank 0 entered all_reduce of [3]
  rank 1 entered all_reduce of [2, 2]""",
        )

    def test_the_first_of_each_group_counts(self):
        ahead = [entered(1, "barrier"), entered(2, "barrier"), entered(7, "reduce", group="group tp")]
        behind = [entered(7, "gather", group="group tp")]
        self.assertExpectedInline(
            "\n".join(desync_lines({0: ahead, 1: behind}, {})),
            """\
collective 1 of the default group:
  rank 0 entered barrier
  rank 1 did not
collective 7 of group tp:
  rank 0 entered reduce
  rank 1 entered gather""",
        )

    def test_a_rank_outside_a_smaller_group_is_not_missed(self):
        self.assertEqual([], desync_lines({0: [entered(1, "barrier", group="group tp")], 1: []}, {}))

    def test_a_group_that_was_started_anew(self):
        first = entered(1, "all_reduce", is_done=True)
        self.assertExpectedInline(
            "\n".join(desync_lines({0: [first, entered(1, "barrier")], 1: [first]}, {})),
            """\
collective 1 of the default group:
  rank 0 entered barrier
  rank 1 did not""",
        )

    def test_ranks_that_agree(self):
        through = [entered(1, "barrier", is_done=True)]
        self.assertEqual([], desync_lines({0: through, 1: through}, {}))
        self.assertEqual([], desync_lines({0: [entered(1, "barrier")], 1: [entered(1, "barrier")]}, {}))
        self.assertEqual([], desync_lines({}, {}))


class MismatchLines(TestCase):
    def test_shapes_types_and_operations(self):
        for one, other in (
            ("all_reduce of [3]", "all_reduce of [7]"),
            ("all_reduce of [3] Float", "all_reduce of [3] Double"),
            ("all_reduce of [3]", "all_gather of [3]"),
        ):
            name, shape, *types = one.replace("of ", "").split()
            other_name, other_shape, *other_types = other.replace("of ", "").split()
            flights = {
                0: [entered(4, name, json.loads(shape), types=tuple(types))],
                1: [entered(4, other_name, json.loads(other_shape), types=tuple(other_types))],
                3: [entered(4, name, json.loads(shape), types=tuple(types))],
            }
            expected = f"collective 4 of {GROUP}:\n  ranks 0, 3 entered {one}\n  rank 1 entered {other}"
            self.assertEqual([expected], mismatch_lines(flights))

    def test_what_is_no_mismatch(self):
        self.assertEqual([], mismatch_lines({}))
        self.assertEqual([], mismatch_lines({0: [entered(1, "barrier")], 1: [entered(1, "barrier")], 2: []}))
        self.assertEqual([], mismatch_lines({0: [entered(1, "barrier")], 1: [entered(2, "all_reduce")]}))
        self.assertEqual([], mismatch_lines({0: [entered(1, "barrier")], 1: [entered(1, "all_reduce", group="tp")]}))


class Dumps(MultiProcessTestCase):
    """What this torch's recorder writes is read in a rank that has made it."""

    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_a_dump_of_this_torch(self):
        dist.init_process_group("gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=2)
        dist.all_reduce(torch.ones(3, 2))
        pair = dist.new_group([0, 1], group_desc="pair")
        dist.barrier(group=pair)
        dump = _dump_fr_trace_json(True, False).decode()
        found = collectives_in(dump)
        by_group = {collective.group: collective for collective in found}
        self.assertEqual(("all_reduce", ((3, 2),)), (by_group[GROUP].name, by_group[GROUP].sizes))
        self.assertEqual(("Float",), by_group[GROUP].types)
        dist.all_reduce(torch.ones(1))
        latest = collectives_in(latest_entries(_dump_fr_trace_json(True, False).decode()))
        self.assertEqual([((1,),), by_group["group pair"].sizes], [collective.sizes for collective in latest])
        self.assertEqual("", latest_entries(""))
        self.assertEqual(("barrier", 1), (by_group["group pair"].name, by_group["group pair"].number))
        self.assertGreater(by_group[GROUP].timeout_seconds, 60)
        self.assertEqual((), collectives_in(""))
        self.assertEqual(len(found), len(json.loads(dump)["entries"]))


if __name__ == "__main__":
    run_tests()
