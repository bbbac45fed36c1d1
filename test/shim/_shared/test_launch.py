"""torch_testing_shim._shared.launch"""

from __future__ import annotations

from torch_testing_shim._shared.launch import Launch, is_of_launch, launch_in
from torch_testing_shim.common_utils import TestCase, run_tests

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host1",
    "MASTER_PORT": "29500",
}


class LaunchTest(TestCase):
    def test_torchruns_variables_are_a_launch(self) -> None:
        self.assertEqual(Launch(3, 4, 2, "host1", 29500, has_store=False), launch_in(TORCHRUN))
        more = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCH_TESTING_SHIM_LAUNCH_PART": "2 of 3"}
        self.assertEqual(Launch(3, 4, 2, "host1", 29500, has_store=True, part="2 of 3"), launch_in(TORCHRUN | more))

    def test_variables_that_scripts_set_by_themselves_are_none(self) -> None:
        self.assertIsNone(launch_in({}))
        for name in TORCHRUN.keys() - {"LOCAL_WORLD_SIZE"}:
            self.assertIsNone(launch_in(TORCHRUN | {name: ""}), name)

    def test_rank_and_world_size_are_left_to_tests(self) -> None:
        own = [name for name in (*TORCHRUN, "TORCHELASTIC_RESTART_COUNT", "GROUP_RANK") if is_of_launch(name)]
        left = [name for name in (*TORCHRUN, "OMP_NUM_THREADS") if not is_of_launch(name)]
        self.assertEqual((6, ["RANK", "WORLD_SIZE", "OMP_NUM_THREADS"]), (len(own), left))


if __name__ == "__main__":
    run_tests()
