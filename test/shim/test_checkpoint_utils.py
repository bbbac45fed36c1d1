"""`with_temp_dir`, with and without a process group, in ranks and outside of them."""

import io
import logging
import os
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from harness_samples import SampleTestCase

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.checkpoint_utils import (
    Rot13Example,
    get_test_extension_registry,
    with_checkpoint_logging,
    with_temp_dir,
)

IN_RANKS = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest, MultiThreadedTestCase
from torch_testing_shim.common_distributed import spawn_threads_and_init_comms

class Bodies:
    world_size = 2

    def _share(self):
        open(os.path.join(self.temp_dir, f"from {dist.get_rank()}"), "w").close()
        dist.barrier()
        self.assertEqual(sorted(os.listdir(self.temp_dir)), ["from 0", "from 1"])
        self.assertEqual(os.stat(self.temp_dir).st_mode & 0o777, 0o700)

    @with_temp_dir
    def test_folder(self):
        self._share()

    @with_temp_dir
    def test_next_folder(self):
        self._share()

    def test_each_call_has_its_own(self):
        with_temp_dir(type(self)._share)(self)
        with_temp_dir(type(self)._share)(self)

    @with_temp_dir
    def test_stays_until_the_last_rank_has_ended(self):
        self.addCleanup(self._check_still_there)

    def _check_still_there(self):
        time.sleep(0.2 * self.rank)
        self.assertTrue(os.path.isdir(self.temp_dir))

class Fresh(Bodies, DTensorTestBase):
    pass

for name in [name for name in dir(Bodies) if name.startswith("test_")]:
    setattr(Fresh, name, with_comms(getattr(Bodies, name)))

class Kept(Bodies, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_zero_earlier_ones_are_gone(self):
        self.assertFalse(os.path.exists(os.path.join(os.path.dirname(self.rdvz_file), "shared")))

class Threads(Bodies, MultiThreadedTestCase):
    def setUp(self):
        super().setUp()
        self._spawn_threads()

class DecoratedThreads(TestCase):
    _share = Bodies._share

    @spawn_threads_and_init_comms(world_size=2)
    @with_temp_dir
    def test_folder(self):
        self._share()

class WithoutGroup(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def _own(self):
        open(os.path.join(self.temp_dir, f"from {self.rank}"), "w").close()
        dist.init_process_group("gloo", rank=self.rank, world_size=2, init_method=f"file://{self.file_name}")
        dist.barrier()
        self.assertEqual(os.listdir(self.temp_dir), [f"from {self.rank}"])
        self.assertEqual(os.stat(self.temp_dir).st_mode & 0o777, 0o700)

    @with_temp_dir
    def test_own_folders(self):
        self._own()
"""


class InRanks(SampleTestCase):
    def test_ranks_of_a_process_group_have_one_folder(self):
        run = self.run_sample(IN_RANKS)
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual(4 + 5 + 4 + 1 + 1, len(run.entries))
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()})


class OutsideOfRanks(TestCase):
    @with_temp_dir
    def test_folder_is_there(self):
        self.assertTrue(os.path.isdir(self.temp_dir))
        type(self).seen = self.temp_dir
        self.addCleanup(self._check_gone)

    def _check_gone(self):
        self.assertFalse(os.path.exists(self.temp_dir))

    def test_folder_is_removed_after_a_failure(self):
        @with_temp_dir
        def fail(case):
            raise ValueError(case.temp_dir)

        with self.assertRaises(ValueError) as caught:
            fail(self)
        self.assertFalse(os.path.exists(str(caught.exception)))

    def test_called_without_a_function(self):
        with self.assertRaisesRegex(AssertionError, "write @with_temp_dir, without parentheses"):
            with_temp_dir()


class Logging(TestCase):
    def test_level_inside_and_after(self):
        logger = logging.getLogger("torch.distributed.checkpoint")
        before = logger.level

        @with_checkpoint_logging
        def bare(case):
            case.assertEqual(logging.INFO, logger.level)

        bare(self)
        self.assertEqual(before, logger.level)

    def test_arguments(self):
        def fail(case):
            case.assertEqual(logging.ERROR, logging.getLogger("another").level)
            raise KeyError

        with self.assertRaises(KeyError):
            with_checkpoint_logging(fail, logger_name="another", level=logging.ERROR)(self)
        self.assertEqual(logging.NOTSET, logging.getLogger("another").level)
        with self.assertRaisesRegex(AssertionError, "needs a function"):
            with_checkpoint_logging()


class Stream(TestCase):
    @with_temp_dir
    def test_checkpoint_is_transformed(self):
        """Through torch's own writer and reader; in the file, letters have the other case."""
        saved = {"text": "Hello, World 13", "tensor": torch.arange(3.0)}
        writer = dcp.FileSystemWriter(self.temp_dir, _extensions=[Rot13Example()])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no process group
            dcp.save(saved, storage_writer=writer, no_dist=True)
            written = b"".join(path.read_bytes() for path in Path(self.temp_dir).glob("*.distcp"))
            self.assertIn(b"hELLO, wORLD 13", written)
            loaded = {"text": "", "tensor": torch.zeros(3)}
            reader = dcp.FileSystemReader(self.temp_dir, _extension_registry=get_test_extension_registry())
            dcp.load(loaded, storage_reader=reader, no_dist=True)
        self.assertEqual(saved, loaded)

    def test_seeking(self):
        source = Rot13Example().transform_from(io.BytesIO(b"aBc"))
        self.assertEqual((b"Ab", 2), (source.read(2), source.tell()))
        source.seek(1)
        self.assertEqual((b"bC", True), (source.read(), source.seekable()))

    def test_descriptor(self):
        extension = Rot13Example(chunk_size=1)
        self.assertEqual("stream.rot13/1", extension.get_descriptor())
        self.assertIsInstance(Rot13Example.from_descriptor("1.7"), Rot13Example)
        with self.assertRaisesRegex(ValueError, "version 1, not 2"):
            Rot13Example.from_descriptor("2")


if __name__ == "__main__":
    run_tests()
