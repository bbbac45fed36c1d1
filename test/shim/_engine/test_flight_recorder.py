"""Which collectives a rank is in, from dumps that torch's Flight Recorder made."""

import json
import sys
import unittest
from pathlib import Path

import torch
import torch._C._distributed_c10d as c10d
import torch.distributed as dist

from torch_testing_shim._engine.flight_recorder import Collective, collectives_in
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import wait_until

GROUP = "the default group"


@unittest.skipUnless(hasattr(c10d, "_dump_fr_trace_json"), "this torch has no recorder for gloo")
class Dumps(MultiProcessTestCase):
    """The text of this torch's recorder is read in the rank that has written it."""

    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def dump(self):
        return c10d._dump_fr_trace_json(True, False).decode()

    def opened(self):
        return [collective.group for collective in collectives_in(self.dump()) if not collective.is_done]

    def test_a_dump_of_this_torch(self):
        dist.init_process_group("gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=2)
        dist.all_reduce(torch.ones(3, 2))
        pair = dist.new_group([0, 1], group_desc="pair")
        dist.barrier(group=pair)
        # gloo's thread records an end a moment after it has woken who waits
        self.assertTrue(wait_until(lambda: not self.opened()), self.dump())
        dump = self.dump()
        found = collectives_in(dump)
        by_group = {collective.group: collective for collective in found}
        self.assertEqual({GROUP, "group pair"}, by_group.keys())
        self.assertEqual(1, by_group["group pair"].number)
        if self.rank == 0:
            dist.barrier(group=pair)  # rank 1 has come so far
            dist.all_reduce(torch.ones(1))
        else:
            work = dist.all_reduce(torch.ones(1), async_op=True)
            self.assertEqual([GROUP], self.opened())
            dist.barrier(group=pair)
            work.wait()
        self.assertGreater(by_group[GROUP].timeout_seconds, 60)
        self.assertEqual(len(found), len(json.loads(dump)["entries"]))


class Constructed(TestCase):
    def test_what_is_read_of_a_collective(self):
        entry = {
            "process_group": ["7", "tp"],
            "collective_seq_id": 3,
            "retired": True,
            "time_created_ns": 5,
            "timeout_ms": 90_000,
            "is_p2p": False,
        }
        dump = json.dumps({"entries": [entry, {**entry, "is_p2p": True}]})
        expected = Collective("group tp", number=3, is_done=True, created_ns=5, timeout_seconds=90.0)
        self.assertEqual((expected,), collectives_in(dump))

    def test_no_dump(self):
        self.assertEqual(((), ()), (collectives_in(""), collectives_in("{}")))


if __name__ == "__main__":
    run_tests()
