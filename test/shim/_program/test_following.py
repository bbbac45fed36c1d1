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
ON_ONE_RANK = """
if os.environ["RANK"] == "1":
    sys.exit(3)

class Never(TestCase):
    def test_1(self):
        pass
"""


class FollowingTest(JoinedSampleTestCase):
    def test_the_runner_of_rank_0_leads(self) -> None:
        (self.folder / "test").mkdir()
        self.write_sample(SAMPLE, "test/test_crashing.py")
        self.write_sample(ON_ONE_RANK, "test/test_only_on_rank_0.py")
        command = [ROOT / "run_test.py", "--root", "test", "--keep-going", "--cold", "--json-lines", "out.jsonl"]
        found = self.run_joined([command] * 2)
        self.assertEqual([1, 1], found.exit_codes, found.outputs)
        lines = [json.loads(line) for line in (self.folder / "out.jsonl").read_text().splitlines()]
        said = {line["test"]: (line["status"], line["reason"]) for line in lines if line["record"] == "test"}
        self.assertEqual(("passed", ""), said["Crashing.test_2"], found.outputs)  # in new processes
        self.assertRegex(str(said["Crashing.test_1_dies"]), "(?i)error")
        self.assertIn("torchrun's processes did not meet: rank 1 (", found.outputs[0])
        self.assertIn("): exit status 3", found.outputs[0])
        self.assertRegex(found.outputs[1], r"^[^E]*ERROR: Crashing.test_1_dies\n")  # in place of rank 0, which is gone

        found = self.run_joined([[*command, "-j", "2"]] * 2)
        self.assertEqual([2, 2], found.exit_codes, found.outputs)
        self.assertIn("-j cannot be combined with torchrun", found.outputs[0])
        self.assertEqual("", found.outputs[1])


if __name__ == "__main__":
    run_tests()
