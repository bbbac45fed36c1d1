"""The order for one rank survives its way to the rank, and says where things lie."""

from pathlib import Path

from torch_testing_shim._engine.job import RankJob, ScratchFolder
from torch_testing_shim.common_utils import TestCase, run_tests


class Job(TestCase):
    def test_paths_of_a_job(self):
        job = RankJob("m", None, "C", "test_a", 1, 4, "/s", "/s/rendezvous", run_arguments={"fake_pg": True})
        self.assertEqual(job, RankJob.from_json(job.to_json()))
        self.assertEqual(ScratchFolder(Path("/s")), job.folder)
        self.assertNotEqual(job.folder.output(1), job.folder.output(2))


if __name__ == "__main__":
    run_tests()
