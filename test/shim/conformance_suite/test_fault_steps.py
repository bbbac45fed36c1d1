"""Saves that are struck at each step: what is left is old, new, refuses, or a mixture, which is a failure."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.conformance._fault_steps import age_of
from torch_testing_shim.conformance._outcomes import MismatchError
from torch_testing_shim.conformance._states import whole_small_state

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

OLD, NEW = 70, 80

STORAGE = """
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch_testing_shim.conformance import CheckpointConformance

class TestTorchs(CheckpointConformance):
    known = {
        f"a save over an old checkpoint{end}: {strike} rank {rank} at its 1st StorageWriter.write_data()":
            "WRONG: load: MIXED: bias is " + ("new" if rank == 0 else "old")
        for end, strike in ((" that fails", "fail"), (", whose rank dies", "kill"))
        for rank in (0, 1)
    }

    def writer(self, path):
        return FileSystemWriter(path)

    def reader(self, path):
        return FileSystemReader(path)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for row in cls.rows:
            print(f"\\nrow of {row.check}: {row.name}: {row.outcome}")
"""


class Ages(SampleTestCase):
    def test_old_and_new(self):
        self.assertEqual("old", age_of(whole_small_state(OLD), True))
        self.assertEqual("new", age_of(whole_small_state(NEW), True))
        self.assertEqual("new", age_of(whole_small_state(NEW), False))

    def test_a_mixture_names_its_parts(self):
        state = whole_small_state(NEW)
        state["bias"] = whole_small_state(OLD)["bias"]
        state["weight"].zero_()
        with self.assertRaisesRegex(
            MismatchError, "^MIXED: bias is old, table is new, twin is new, weight is neither$"
        ):
            age_of(state, True)

    def test_what_was_never_saved(self):
        for state, has_old in ((whole_small_state(OLD), False), (whole_small_state(NEW, is_blank=True), True)):
            with self.assertRaisesRegex(MismatchError, "^MIXED: bias is neither"):
                age_of(state, has_old)


class Saves(SampleTestCase):
    """Torch's own files: in a new folder a save that breaks leaves nothing that loads; over an old checkpoint a rank
    that has not begun to write leaves a mixture (torch 2.13)."""

    def test_each_step(self):
        run = self.run_sample(STORAGE, "-k", "fails", "-k", "dies")
        for test in (
            "a_save_in_a_new_folder_that_fails",
            "a_save_over_an_old_checkpoint_that_fails",
            "a_save_in_a_new_folder_whose_rank_dies",
            "a_save_over_an_old_checkpoint_whose_rank_dies",
        ):
            with self.subTest(test):
                self.assert_status(run, f"TestTorchs.test_{test}", TestStatus.PASSED)
        rows = dict(
            line.removeprefix("row of ").rsplit(": ok: ", 1) for line in run.output.splitlines() if ": ok: " in line
        )
        for place, before, mixed in (
            ("in a new folder", "^refuses: (AssertionError|FileNotFoundError)$", 0),  # the latter with torch 2.6
            ("over an old checkpoint", "^old$", 2),
        ):
            for end, strike in ((" that fails", "fail"), (", whose rank dies", "kill")):
                head = f"a save {place}{end}: {strike} rank"
                ages = {name.removeprefix(head): age for name, age in rows.items() if name.startswith(head)}
                with self.subTest(head):
                    self.assertRegex(ages[" 0 at its 1st StorageWriter.set_up_storage_writer()"], before)
                    self.assertRegex(ages[" 1 at its 2nd collective"], before)
                    self.assertEqual("new", ages[" 0 at the end of its 1st StorageWriter.finish()"])
                    self.assertRegex(ages[" 1 at its 3rd write"], "^refuses: ")
                    self.assertEqual(26 - mixed, len(ages))  # and two renames that torch does not have


if __name__ == "__main__":
    run_tests()
