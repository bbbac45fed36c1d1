"""torch_testing_shim._engine.joined.surroundings"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist
from torch.distributed import HashStore

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.joined.surroundings import leave_groups, rank_surroundings
from torch_testing_shim.common_utils import TestCase, run_tests

JOB = RankJob("m", None, "C", "test", 1, 2, "", "")


class SurroundingsTest(TestCase):
    def test_output_and_temporary_files_are_the_tests_own(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            job = replace(JOB, scratch=folder)
            job.folder.temporary.mkdir(exist_ok=True)
            before, streams = tempfile.gettempdir(), os.fstat(1).st_ino
            with rank_surroundings(job):
                print("by Python")
                subprocess.run(["echo", "by another program"], check=True)
                os.write(2, b"by C\n")
                found = tempfile.mkdtemp(), os.environ["TMPDIR"]
            self.assertEqual("by Python\nby another program\nby C\n", job.folder.output(1).read_text())
            self.assertEqual((job.folder.temporary, str(job.folder.temporary)), (Path(found[0]).parent, found[1]))
            self.assertEqual((before, streams), (tempfile.gettempdir(), os.fstat(1).st_ino))

    def test_a_group_that_a_body_has_left_is_left(self) -> None:
        dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        leave_groups(has_failed=False)
        self.assertFalse(dist.is_initialized())
        leave_groups(has_failed=True)  # there is none


if __name__ == "__main__":
    run_tests()
