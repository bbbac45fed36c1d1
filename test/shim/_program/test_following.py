"""torch_testing_shim._program.following"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # test/shim, for what samples share

from harness_samples import ROOT
from joined_samples import JoinedSampleTestCase

from torch_testing_shim.common_utils import run_tests

SAMPLE = """
class Crashing(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_1_dies(self):
        if self.rank == 0:
            os._exit(0)
        dist.barrier()

    @with_comms
    def test_2(self):
        dist.barrier()
"""


class FollowingTest(JoinedSampleTestCase):
    def test_the_runner_of_rank_0_leads_also_past_a_crash(self) -> None:
        (self.folder / "test").mkdir()
        self.write_sample(SAMPLE, "test/test_crashing.py")
        command = [ROOT / "run_test.py", "--root", "test", "--keep-going", "--cold", "--json-lines", "out.jsonl"]
        found = self.run_joined([command] * 2)
        self.assertEqual([1, 1], found.exit_codes, found.outputs)
        lines = [json.loads(line) for line in (self.folder / "out.jsonl").read_text().splitlines()]
        said = {line["test"]: line for line in lines if line["record"] in ("test", "fault")}
        dies, then = said["Crashing.test_1_dies"], said["Crashing.test_2"]
        self.assertEqual("the file's process ended with exit status 0 while this test ran", dies["reason"])
        self.assertEqual(("passed", 2), (then["status"], then["ranks"]))  # in new processes
        self.assertIn("ERROR: Crashing.test_1_dies\n", found.outputs[1])  # in place of rank 0, which is gone
        self.assertEqual(1, found.outputs[1].count("ERROR: "))


if __name__ == "__main__":
    run_tests()
