"""Folders that belong to a process: private, removed with all in them; so are those of dead processes, no others."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from torch_testing_shim._shared.owned_folders import STAMP, make_folder, remove_folder, remove_stale
from torch_testing_shim._shared.process_identity import own_stamp
from torch_testing_shim.common_utils import TestCase, run_tests

#: Makes a folder with something in it, says where, and waits.
OWNER = """
import sys, time
from torch_testing_shim._shared.owned_folders import make_folder
folder = make_folder(sys.argv[1])
locked = folder / "locked"
locked.mkdir()
(locked / "file").touch()
locked.chmod(0)
print(folder, flush=True)
time.sleep(3600)
"""
REMOVER = "import sys; from torch_testing_shim._shared.owned_folders import remove_stale; remove_stale(sys.argv[1])"


class FolderTestCase(TestCase):
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
            [sys.executable, "-c", OWNER, str(self.place)], env=self.environment(), stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process, Path(process.stdout.readline().strip())


class OneFolder(FolderTestCase):
    def test_private_and_removed_with_all_in_it(self):
        folder = make_folder(str(self.place))
        self.assertEqual(0o700, stat.S_IMODE(os.stat(folder).st_mode))
        self.assertEqual(own_stamp(), (folder / STAMP).read_text())
        locked = folder / "locked"
        (locked / "below").mkdir(parents=True)
        (locked / "below" / "file").touch()
        (folder / "link").symlink_to(self.place)
        (locked / "link").symlink_to(self.place)
        locked.chmod(0o000)
        self.place.chmod(0o500)
        remove_folder(folder)
        self.place.chmod(0o700)
        self.assertEqual([], self.folders())


class StaleFolders(FolderTestCase):
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
            folder = self.place / f"tts-{name}"
            folder.mkdir()
            (folder / STAMP).write_text(stamp)
        (self.place / "tts-unstamped").mkdir()
        (self.place / "tts-file").touch()
        (self.place / "others").mkdir()
        (self.place / "others" / "owner").write_text(dead)
        (self.place / "tts-link").symlink_to("others")
        before = {path.name.removeprefix("tts-") for path in self.folders()}
        remove_stale(str(self.place))
        after = {path.name.removeprefix("tts-") for path in self.folders()}
        self.assertEqual({"stale"}, before - after)
        self.assertTrue((self.place / "others" / "owner").exists())

    def test_another_users_folder_stays(self):
        folder = self.place / "tts-theirs"
        folder.mkdir()
        (folder / STAMP).write_text(own_stamp().rpartition(" ")[0] + " 1")
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):  # to be another user takes root
            remove_stale(str(self.place))
        self.assertEqual([folder], self.folders())
        remove_stale(str(self.place))
        self.assertEqual([], self.folders())

    def test_two_processes_remove_at_once(self):
        dead = own_stamp().rpartition(" ")[0] + " 1"
        for number in range(200):
            folder = self.place / f"tts-{number}"
            (folder / "a" / "b").mkdir(parents=True)
            (folder / STAMP).write_text(dead)
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
        folder = self.place / "tts-half"
        (folder / "tmp").mkdir(parents=True)
        (folder / STAMP).write_text(own_stamp().rpartition(" ")[0] + " 1")
        removed = []

        def dies_at_the_stamp(path):
            removed.append(path)
            if path == str(folder):
                raise KeyboardInterrupt

        module = "torch_testing_shim._shared.owned_folders._remove"
        with mock.patch(module, dies_at_the_stamp), self.assertRaises(KeyboardInterrupt):
            remove_stale(str(self.place))
        self.assertEqual([str(folder / "tmp"), str(folder)], removed)
        self.assertTrue((folder / STAMP).exists())
        remove_stale(str(self.place))
        self.assertEqual([], self.folders())


if __name__ == "__main__":
    run_tests()
