"""Which collectives a rank is in, from dumps that torch's Flight Recorder made."""

import json
import unittest

import torch
import torch._C._distributed_c10d as c10d
import torch.distributed as dist

from torch_testing_shim._engine.flight_recorder import collectives_in
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import run_tests

GROUP = "the default group"


@unittest.skipUnless(hasattr(c10d, "_dump_fr_trace_json"), "this torch has no recorder for gloo")
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
        dump = c10d._dump_fr_trace_json(True, False).decode()
        found = collectives_in(dump)
        by_group = {collective.group: collective for collective in found}
        self.assertEqual({GROUP, "group pair"}, by_group.keys())
        self.assertEqual(1, by_group["group pair"].number)
        self.assertTrue(all(collective.is_done for collective in found))
        if self.rank == 0:
            dist.barrier(group=pair)  # rank 1 has come so far
            dist.all_reduce(torch.ones(1))
        else:
            work = dist.all_reduce(torch.ones(1), async_op=True)
            opened = [c for c in collectives_in(c10d._dump_fr_trace_json(True, False).decode()) if not c.is_done]
            self.assertEqual([GROUP], [collective.group for collective in opened])
            dist.barrier(group=pair)
            work.wait()
        self.assertGreater(by_group[GROUP].timeout_seconds, 60)
        self.assertEqual((), collectives_in(""))
        self.assertEqual(len(found), len(json.loads(dump)["entries"]))


if __name__ == "__main__":
    run_tests()
