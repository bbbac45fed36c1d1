"""Scratch folders: private, removed with all in them; those of dead processes are removed, no others."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.launcher import LaunchError
from torch_testing_shim._engine.owner import own_stamp
from torch_testing_shim._engine.scratch import make_scratch_folder, remove_scratch_folder, remove_stale
from torch_testing_shim.common_utils import TestCase, run_tests

#: Makes a folder with something in it, says where, and waits.
OWNER = """
import sys, time
from torch_testing_shim._engine.scratch import make_scratch_folder
folder = make_scratch_folder()
locked = folder.temporary / "locked"
locked.mkdir()
(locked / "file").touch()
locked.chmod(0)
print(folder.path, flush=True)
time.sleep(3600)
"""
REMOVER = "import sys; from torch_testing_shim._engine.scratch import remove_stale; remove_stale(sys.argv[1])"


class ScratchTestCase(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="scratch-")
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)

    def environment(self):
        return {**os.environ, "TMPDIR": str(self.place)}

    def folders(self):
        return sorted(self.place.iterdir())

    def start_owner(self) -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER], env=self.environment(), stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process, Path(process.stdout.readline().strip())


class OneFolder(ScratchTestCase):
    def test_private_and_removed_with_all_in_it(self):
        folder = make_scratch_folder()
        self.assertEqual(0o700, stat.S_IMODE(os.stat(folder.path).st_mode))
        self.assertTrue(folder.temporary.is_dir())
        self.assertEqual(own_stamp(), folder.owner.read_text())
        locked = folder.temporary / "locked"
        (locked / "below").mkdir(parents=True)
        (locked / "below" / "file").touch()
        (folder.path / "link").symlink_to(self.place)
        (locked / "link").symlink_to(self.place)
        locked.chmod(0o000)
        self.place.chmod(0o500)
        remove_scratch_folder(folder)
        self.assertFalse(folder.path.exists())
        self.assertEqual(0o500, stat.S_IMODE(self.place.stat().st_mode), "a link's target was touched")

    def test_folder_that_cannot_be_written(self):
        reason = "cannot make a scratch folder in /nowhere/at/all: No such file"
        environment = mock.patch.dict(os.environ, TMPDIR="/nowhere/at/all")
        with environment, self.assertRaisesRegex(LaunchError, reason):
            make_scratch_folder()

    def test_disk_that_fills_up_in_between(self):
        """Simulated: to fill a disk takes a small one, which takes root to mount."""
        full = mock.patch.object(Path, "write_text", side_effect=OSError(28, "No space left on device"))
        place = mock.patch.dict(os.environ, TMPDIR=str(self.place))
        with place, full, self.assertRaisesRegex(LaunchError, "cannot write .* in .*scratch-.*: No space left"):
            make_scratch_folder()
        self.assertEqual([], self.folders())


class StaleFolders(ScratchTestCase):
    def test_removed_by_the_first_folder_of_the_next_process(self):
        killed, stale = self.start_owner()
        living, kept = self.start_owner()
        self.assertEqual(sorted([stale, kept]), self.folders())
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        _, new = self.start_owner()
        self.assertEqual(sorted([new, kept]), self.folders())
        self.assertIsNone(living.poll())

    def test_only_what_is_surely_stale(self):
        dead = own_stamp().rpartition(" ")[0] + " 1"
        for name, stamp in (
            ("stale", dead),
            ("ours", own_stamp()),
            ("elsewhere", "0" + dead),
            ("torn", dead[:-4]),
            ("empty", ""),
        ):
            folder = self.place / f"torch_testing_shim-{name}"
            folder.mkdir()
            ScratchFolder(folder).owner.write_text(stamp)
        (self.place / "torch_testing_shim-unstamped").mkdir()
        (self.place / "torch_testing_shim-file").touch()
        (self.place / "others").mkdir()
        (self.place / "others" / "owner").write_text(dead)
        (self.place / "torch_testing_shim-link").symlink_to("others")
        before = {path.name.removeprefix("torch_testing_shim-") for path in self.folders()}
        remove_stale(str(self.place))
        after = {path.name.removeprefix("torch_testing_shim-") for path in self.folders()}
        self.assertEqual({"stale"}, before - after)
        self.assertTrue((self.place / "others" / "owner").exists())

    def test_another_users_folder_stays(self):
        folder = self.place / "torch_testing_shim-theirs"
        folder.mkdir()
        ScratchFolder(folder).owner.write_text(own_stamp().rpartition(" ")[0] + " 1")
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):  # to be another user takes root
            remove_stale(str(self.place))
        self.assertEqual([folder], self.folders())
        remove_stale(str(self.place))
        self.assertEqual([], self.folders())

    def test_two_processes_remove_at_once(self):
        dead = own_stamp().rpartition(" ")[0] + " 1"
        for number in range(200):
            folder = ScratchFolder(self.place / f"torch_testing_shim-{number}")
            (folder.temporary / "a" / "b").mkdir(parents=True)
            folder.owner.write_text(dead)
        removers = [
            subprocess.Popen(
                [sys.executable, "-c", REMOVER, str(self.place)], env=self.environment(), stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        for remover in removers:
            _, errors = remover.communicate()
            self.assertEqual((0, b""), (remover.returncode, errors))
        self.assertEqual([], self.folders())

    def test_a_removal_that_was_killed_is_finished_by_the_next(self):
        folder = ScratchFolder(self.place / "torch_testing_shim-half")
        folder.temporary.mkdir(parents=True)
        folder.owner.write_text(own_stamp().rpartition(" ")[0] + " 1")
        removed = []

        def dies_at_the_stamp(path):
            removed.append(path)
            if path == str(folder.path):
                raise KeyboardInterrupt

        module = "torch_testing_shim._engine.scratch._remove"
        with mock.patch(module, dies_at_the_stamp), self.assertRaises(KeyboardInterrupt):
            remove_stale(str(self.place))
        self.assertEqual([str(folder.temporary), str(folder.path)], removed)
        self.assertTrue(folder.owner.exists())
        remove_stale(str(self.place))
        self.assertEqual([], self.folders())


if __name__ == "__main__":
    run_tests()
