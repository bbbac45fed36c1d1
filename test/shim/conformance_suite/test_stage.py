"""Worlds of several sizes in one launch: exact groups, and one end for all ranks."""

import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.conformance._outcomes import Kind, MismatchError, Outcome, RowFailedError
from torch_testing_shim.conformance._stage import Place, Stage
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase


class StageTest(DTensorTestBase):
    world_size = 3
    device_type = "cpu"

    def stage(self) -> Stage:
        folder = Path(self.file_name).parent / "stage"
        folder.mkdir(exist_ok=True)
        return Stage(Place(self.rank, 3, folder, "cpu", "gloo", timedelta(seconds=30)))

    def sum_of_ranks(self) -> int:
        total = torch.tensor(self.rank)
        dist.all_reduce(total)
        return int(total) + 100 * dist.get_world_size()

    def failure(self, stage: Stage, ranks: int, work) -> Outcome:
        with self.assertRaises(RowFailedError) as raised:
            stage.phase(ranks, "load", work)
        return raised.exception.outcome

    def test_a_phase_is_a_world_of_its_ranks(self) -> None:
        stage = self.stage()
        for ranks, total in ((3, 303), (2, 201), (2, 201), (3, 303), (1, 100)):
            found = stage.phase(ranks, "save", self.sum_of_ranks)
            self.assertEqual(total if self.rank < ranks else None, found)
        stage.leave_group()

    def test_all_ranks_hear_of_the_failure_that_came_first_and_go_on(self) -> None:
        stage = self.stage()

        def fail_on_one() -> None:
            if self.rank == 1:
                raise OSError("disk full")
            self.sum_of_ranks()  # whose peer is gone

        self.assertEqual(Outcome(Kind.REFUSES, "load: OSError: disk full"), self.failure(stage, 3, fail_on_one))
        self.assertEqual(Outcome(Kind.REFUSES, "load: OSError: disk full"), self.failure(stage, 2, fail_on_one))
        self.assertEqual(303, stage.phase(3, "save", self.sum_of_ranks))
        stage.leave_group()

    def test_a_wrong_value_is_told_before_any_error(self) -> None:
        stage = self.stage()

        def fail_on_both() -> None:
            raise MismatchError("a is 1, not 2") if self.rank else KeyError("b")

        self.assertEqual(Outcome(Kind.WRONG, "load: a is 1, not 2"), self.failure(stage, 2, fail_on_both))
        stage.leave_group()

    def test_ranks_meet_and_one_that_does_not_come_is_missed_for_a_while(self) -> None:
        stage, marks = self.stage(), Path(self.file_name).parent
        (marks / f"came {self.rank}").touch()
        stage.meet(60.0)
        self.assertEqual(3, len(list(marks.glob("came *"))))
        if self.rank:
            began = time.monotonic()
            stage.meet(0.2)
            self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_paths_are_shared_new_and_removed(self) -> None:
        stage = self.stage()
        path, other = Path(stage.new_path()), Path(stage.new_path())
        self.assertNotEqual(path, other)
        if self.rank == 1:
            path.mkdir()
        stage.clear()
        self.assertFalse(path.parent.exists())


if __name__ == "__main__":
    run_tests()
