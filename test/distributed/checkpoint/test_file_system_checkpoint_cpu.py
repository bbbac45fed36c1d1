# Owner(s): ["oncall: distributed checkpointing"]
"""Checkpoints of one process in a file system: what the folder holds, bit for bit, and who may write there."""

import contextlib
import inspect
import os
import unittest
from pathlib import Path
from unittest import mock

import torch
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import without_log
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.api import CheckpointException

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

#: Whether a file's last bytes leave the process before it is synced.
FLUSHES = "stream.flush()" in inspect.getsource(filesystem._write_files_from_queue)

#: A user who may write nowhere: the one that systems call "nobody".
NOBODY = 65534

#: One tensor of each kind that is stored in its own way. They are made anew by each call.
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
    *(getattr(torch, name) for name in ("float8_e4m3fn",) if hasattr(torch, name)),
]


def _plain_state(factor=1):
    state = {str(dtype): (torch.arange(6) * factor).to(dtype) for dtype in DTYPES}
    base = torch.arange(12.0).view(3, 4) * factor
    return {
        **state,
        "turned": base.t(),
        "row": base[1],
        "expanded": torch.full((1,), 3.0 * factor).expand(4),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5 * factor),
        "parameter": torch.nn.Parameter(torch.ones(2) * factor),
    }


def _bits(tensor):
    """Return a tensor's bytes, so that values that equal nothing, as NaN, and types without comparison compare too."""
    whole = tensor.detach().cpu().contiguous()
    return whole.reshape(-1).view(torch.uint8).tolist()


class FileSystemTest(TestCase):
    """One process without a process group."""

    def assert_state(self, expected, actual):
        self.assertEqual(list(expected), list(actual))
        for name, tensor in expected.items():
            self.assertEqual((tensor.dtype, tensor.shape), (actual[name].dtype, actual[name].shape))
            self.assertTrue(_bits(tensor) == _bits(actual[name]), f"{name} is {actual[name]}, not {tensor}")

    def _load(self, folder, like):
        loaded = {
            name: torch.zeros_like(tensor, memory_format=torch.contiguous_format) for name, tensor in like.items()
        }
        dcp.load(loaded, storage_reader=dcp.FileSystemReader(folder))
        return loaded

    @with_temp_dir
    def test_plain_tensors_are_the_same_bit_for_bit(self):
        odd = {"odd": torch.tensor([float("nan"), -0.0, float("-inf"), 1e-42])}
        dcp.save({**_plain_state(), **odd}, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assert_state({**_plain_state(), **odd}, self._load(self.temp_dir, {**_plain_state(), **odd}))

    @with_temp_dir
    def test_a_view_takes_the_room_of_its_elements(self):
        large = torch.zeros(100_000)
        dcp.save({"part": large[:4]}, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assertLess((Path(self.temp_dir) / "__0_0.distcp").stat().st_size, 10_000)

    @with_temp_dir
    def test_several_files_for_one_rank(self):
        state = _plain_state()
        ways = {"each its own": {"single_file_per_rank": False}, "by threads": {"thread_count": 3}}
        for (way, options), count in zip(ways.items(), (len(state), 3), strict=True):
            folder = f"{self.temp_dir}/{way}"
            metadata = dcp.save(state, storage_writer=dcp.FileSystemWriter(folder, **options))
            files = {f"__0_{number}.distcp" for number in range(count)}
            self.assertEqual({".metadata", *files}, set(os.listdir(folder)))
            self.assertEqual(files, {info.relative_path for info in metadata.storage_data.values()})
            self.assert_state(state, self._load(folder, state))

    def _synced(self, **options):
        """Save, and return for each synced file whether all of it had left the process."""
        sizes = {}

        def fsync(descriptor):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            sizes[os.path.basename(path)] = os.fstat(descriptor).st_size

        with mock.patch.object(os, "fsync", fsync):
            dcp.save({"weight": torch.ones(3)}, storage_writer=dcp.FileSystemWriter(self.temp_dir, **options))
        names = {name.removesuffix(".tmp"): size for name, size in sizes.items()}
        return {name: (Path(self.temp_dir) / name).stat().st_size == size for name, size in names.items()}

    @with_temp_dir
    def test_files_are_synced_where_that_is_asked(self):
        self.assertEqual({".metadata", "__0_0.distcp"}, set(self._synced()))
        self.assertEqual({}, self._synced(sync_files=False))

    @with_temp_dir
    def test_a_file_is_complete_when_it_is_synced(self):
        self.assertEqual({".metadata": True, "__0_0.distcp": True}, self._synced())

    if not FLUSHES:  # torch 2.13 syncs files whose last bytes are still in the process, and then closes them
        test_a_file_is_complete_when_it_is_synced = unittest.expectedFailure(test_a_file_is_complete_when_it_is_synced)

    @with_temp_dir
    def test_an_old_checkpoint_is_overwritten_unless_that_is_forbidden(self):
        old, new = {"weight": torch.tensor([1, 2]), "gone": torch.zeros(1)}, {"weight": torch.tensor([3, 4])}
        dcp.save(old, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        with self.assertRaisesRegex(CheckpointException, "Checkpoint already exists"):
            dcp.save(new, storage_writer=dcp.FileSystemWriter(self.temp_dir, overwrite=False))
        self.assert_state(old, self._load(self.temp_dir, old))
        with self.assertWarnsRegex(UserWarning, "existing checkpoint"):
            dcp.save(new, storage_writer=dcp.FileSystemWriter(self.temp_dir))
        self.assert_state(new, self._load(self.temp_dir, new))
        with self.assertRaisesRegex(CheckpointException, "Missing key .*: gone"):
            self._load(self.temp_dir, old)
        self.assertEqual([".metadata", "__0_0.distcp"], sorted(os.listdir(self.temp_dir)))
        fresh = dcp.FileSystemWriter(f"{self.temp_dir}/fresh", overwrite=False)
        dcp.save(new, storage_writer=fresh)
        self.assert_state(new, self._load(f"{self.temp_dir}/fresh", new))

    @without_log
    @with_temp_dir
    def test_a_damaged_checkpoint_is_refused(self):
        state = {"weight": torch.arange(4)}
        for damaged in (".metadata", "__0_0.distcp"):
            folder = Path(self.temp_dir) / damaged.strip(".")
            dcp.save(state, storage_writer=dcp.FileSystemWriter(folder))
            (folder / damaged).unlink()
            with self.assertRaisesRegex(CheckpointException, f"No such file .*{damaged}"):
                self._load(folder, state)

    @with_temp_dir
    def test_a_folder_without_write_permission_can_only_be_read(self):
        state, folder = _plain_state(), Path(self.temp_dir)
        dcp.save(state, storage_writer=dcp.FileSystemWriter(folder))
        self._load(folder, state)  # what is imported late is imported before the rights are dropped
        with _in_folder_that_is_read_only(folder):
            loaded = self._load(".", state)
            with self.assertRaisesRegex(CheckpointException, "Permission denied"):
                dcp.save(_plain_state(2), storage_writer=dcp.FileSystemWriter("."))
        self.assert_state(state, loaded)
        self.assert_state(state, self._load(folder, state))


@contextlib.contextmanager
def _in_folder_that_is_read_only(folder):
    """Work in a folder whose mode forbids writing, as a user who is bound by it: root is not."""
    old_folder, is_root = os.getcwd(), os.geteuid() == 0
    modes = {path: path.stat().st_mode for path in (*folder.iterdir(), folder)}
    os.chdir(folder)
    try:
        for path in modes:
            path.chmod(0o555)
        if is_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
        os.chdir(old_folder)


if __name__ == "__main__":
    run_tests()
