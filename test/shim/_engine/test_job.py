"""The order for one rank survives its way to the rank; scratch folders are made where they are asked for, or
refused."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.job import (
    LaunchError,
    RankJob,
    ScratchFolder,
    make_scratch_folder,
    remove_scratch_folder,
)
from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim.common_utils import TestCase, run_tests


class Job(TestCase):
    def test_paths_of_a_job(self):
        job = RankJob("m", None, "C", "test_a", 1, 4, "/s", "/s/rendezvous", run_arguments={"fake_pg": True})
        self.assertEqual(job, RankJob.from_json(job.to_json()))
        self.assertEqual(ScratchFolder(Path("/s")), job.folder)
        self.assertNotEqual(job.folder.output(1), job.folder.output(2))


class Scratch(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="scratch-")
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)

    def test_private_and_removed(self):
        with mock.patch.dict(os.environ, TMPDIR=str(self.place)):
            folder = make_scratch_folder()
        self.assertEqual([folder.path], list(self.place.iterdir()))
        self.assertEqual(0o700, stat.S_IMODE(folder.temporary.stat().st_mode))
        remove_scratch_folder(folder)
        self.assertEqual([], list(self.place.iterdir()))

    def test_a_rank_below_the_runner_has_room_for_sockets(self):
        """As deep as folders lie where a test file of run_test.py's has ranks; multiprocessing adds a folder, too."""
        with tempfile.TemporaryDirectory(prefix="twelve-chars", dir="/tmp") as place:
            self.assertEqual(25, len(place))
            file = make_folder(place) / "100" / "tmp"
            file.mkdir(parents=True)
            with mock.patch.dict(os.environ, TMPDIR=str(file)):
                folder = make_scratch_folder()
            environment = {**os.environ, "TMPDIR": str(folder.temporary)}
            program = "from multiprocessing.connection import Listener; Listener(family='AF_UNIX').close()"
            done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
            self.assertEqual((0, ""), (done.returncode, done.stderr))
            remove_scratch_folder(folder)
            remove_folder(file.parents[1])

    def test_a_relative_place_is_one_of_now(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.place.parent)
        with mock.patch.dict(os.environ, TMPDIR=self.place.name):
            folder = make_scratch_folder()
        os.chdir("/")
        self.assertTrue(folder.temporary.is_dir())
        remove_scratch_folder(folder)
        self.assertEqual([], list(self.place.iterdir()))

    def test_folder_that_cannot_be_written(self):
        reason = "cannot make a scratch folder in /nowhere/at/all: No such file"
        environment = mock.patch.dict(os.environ, TMPDIR="/nowhere/at/all")
        with environment, self.assertRaisesRegex(LaunchError, reason):
            make_scratch_folder()

    def test_disk_that_fills_up_in_between(self):
        """Simulated: to fill a disk takes a small one, which takes root to mount."""
        place = mock.patch.dict(os.environ, TMPDIR=str(self.place))
        for function in ("write_text", "mkdir"):
            full = mock.patch.object(Path, function, side_effect=OSError(28, "No space left on device"))
            with place, full, self.assertRaisesRegex(LaunchError, "cannot .* in .*scratch-.*: No space left"):
                make_scratch_folder()
            self.assertEqual([], list(self.place.iterdir()))


if __name__ == "__main__":
    run_tests()
