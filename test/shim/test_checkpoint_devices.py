"""Tests of checkpoints on an accelerator, one for each rank and one for all. It is simulated: `sample_backend/`.

Some tests of `test/distributed/checkpoint/` run here, and some checks of the conformance suite: those that move tensors
from and to the device in ways that differ.
"""

from harness_samples import ROOT
from quartz_samples import InstalledQuartzTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

#: Test file -> its class and the tests that run here.
TESTS = {
    "file_system_checkpoint": ("FileSystemInRanksTest", ["what_all_ranks_have_is_written_once"]),
    "hf_safetensor_e2e": ("HfSafetensorE2ETest", ["fewer_ranks_load"]),
    "pg_transport": ("PGTransportTest", ["one_replica_is_healed_by_the_other"]),
    "save_load_api": ("SaveLoadInRanksTest", ["an_async_save_keeps_what_was_there_when_it_was_called"]),
    "state_dict_stager": ("StagingInRanksTest", ["staged_shards_can_be_saved"]),
}
#: Checks of the conformance suite that run here.
CHECKS = ("asynchronous_save_of_a_view", "planners", "round_trip_of_tp")

SAMPLE = f"""
import importlib
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch_testing_shim.conformance import CheckpointConformance, Selection
from torch_testing_shim.conformance._optimizers import OPTIMIZERS

sys.path.insert(0, {str(ROOT / "test" / "distributed" / "checkpoint")!r})
CHOSEN = {TESTS!r}
for file, (name, tests) in CHOSEN.items():
    case = getattr(importlib.import_module(f"test_{{file}}"), name)
    others = set(unittest.TestLoader().getTestCaseNames(case)) - {{f"test_{{test}}" for test in tests}}
    globals()[name] = type(name, (case,), {{"__module__": __name__, **dict.fromkeys(others)}})
del case

class FileSystem(CheckpointConformance):
    blames_torch = False
    selection = Selection(((2, 3),), OPTIMIZERS[:1])

    def writer(self, path):
        return FileSystemWriter(path)

    def reader(self, path):
        return FileSystemReader(path)

for name in dir(FileSystem):
    if name.startswith("test_") and name.removeprefix("test_") not in {CHECKS!r}:
        setattr(FileSystem, name, None)
"""


class CheckpointDevices(InstalledQuartzTestCase):
    def check_all(self, **devices: str) -> None:
        run = self.run_sample(SAMPLE, **devices)
        wanted = {f"{name}.test_{test}" for name, tests in TESTS.values() for test in tests}
        self.assertEqual(wanted | {f"FileSystem.test_{check}" for check in CHECKS}, set(run.entries), run.output)
        for test in run.entries:
            with self.subTest(test):
                if run.entries[test].status is TestStatus.SKIPPED:  # this torch lacks what it needs
                    self.skipTest(run.entries[test].reason)
                self.assert_status(run, test, TestStatus.PASSED)
                notes = run.entries[test].notes
                self.assertEqual(bool(devices), any(note.startswith("shared: ") for note in notes), notes)

    def test_a_device_for_each_rank(self) -> None:
        self.check_all()

    def test_one_device_for_all_ranks(self) -> None:
        self.check_all(TORCH_TESTING_SHIM_DEVICE_INDICES="0", TORCH_TESTING_SHIM_SHARE_DEVICES="1")


if __name__ == "__main__":
    run_tests()
