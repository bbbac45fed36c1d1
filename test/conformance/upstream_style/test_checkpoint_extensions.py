"""What tests of checkpoints use besides a folder: extensions, their registry, logging and embeddings."""

import io
import logging
import os

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._extension import ExtensionRegistry, StreamTransformExtension
from torch.testing._internal.common_utils import TestCase, instantiate_parametrized_tests, parametrize, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch.testing._internal.distributed.checkpoint_utils import (
    Rot13Example,
    get_test_extension_registry,
    with_checkpoint_logging,
    with_temp_dir,
)
from torch.testing._internal.distributed.common_state_dict import FusionEmbedding, FusionEmbeddingWithHook
from torch.testing._internal.distributed.distributed_utils import with_dist, with_fake_comms


class ExtensionsTest(TestCase):
    def test_registry(self):
        registry = get_test_extension_registry()
        self.assertIsInstance(registry, ExtensionRegistry)
        [extension] = registry.from_descriptor_list(["stream.rot13/1"])
        self.assertIsInstance(extension, StreamTransformExtension)
        self.assertEqual(extension.get_descriptor(), "stream.rot13/1")

    @parametrize("text", [b"abc", b"ABC xyz"])
    def test_there_and_back(self, text):
        stream = io.BytesIO()
        writer = Rot13Example().transform_to(stream)
        writer.write(text)
        writer.flush()
        self.assertEqual(stream.getvalue(), text.swapcase())
        self.assertEqual(Rot13Example().transform_from(io.BytesIO(stream.getvalue())).read(), text)

    def test_wrong_version(self):
        with self.assertRaisesRegex(ValueError, "Unknown extension"):
            get_test_extension_registry().from_descriptor_list(["stream.rot13/2"])

    def test_it_is_not_rot13(self):
        stream = io.BytesIO()
        Rot13Example().transform_to(stream).write(b"a")
        self.assertEqual(stream.getvalue(), b"n")

    @with_checkpoint_logging
    @with_temp_dir
    def test_folder(self):
        self.assertEqual(logging.getLogger("torch.distributed.checkpoint").level, logging.INFO)
        dcp.save({"x": torch.ones(2)}, checkpoint_id=self.temp_dir, no_dist=True)
        found = {"x": torch.zeros(2)}
        dcp.load(found, checkpoint_id=self.temp_dir, no_dist=True)
        self.assertEqual(found["x"], torch.ones(2))

    @with_temp_dir
    def test_folder_goes(self):
        type(self).folder = self.temp_dir
        self.assertTrue(os.path.isdir(self.temp_dir))

    def test_folder_is_gone(self):
        self.assertFalse(os.path.exists(getattr(type(self), "folder", "")))

    def test_embeddings(self):
        plain, hooked = FusionEmbedding(4, 2, 2), FusionEmbeddingWithHook(4, 2, 2)
        self.assertEqual(set(hooked.state_dict()), {"weight", "fusion_embedding.weight"})
        self.assertIn("embedding.weight", plain.state_dict())

    @with_fake_comms(rank=1, world_size=3)
    def test_pretended_ranks(self):
        self.assertEqual((torch.distributed.get_rank(), torch.distributed.get_world_size()), (1, 3))

    def test_pretended_ranks_in_a_block(self):
        with with_dist(rank=0, world_size=2):
            self.assertEqual(torch.distributed.get_world_size(), 2)
        self.assertFalse(torch.distributed.is_initialized())


class LoggedRanksTest(DTensorTestBase):
    world_size = 2

    @with_comms
    @with_checkpoint_logging
    @with_temp_dir
    def test_one_folder(self):
        folders = [None, None]
        torch.distributed.all_gather_object(folders, self.temp_dir)
        self.assertEqual(folders[0], folders[1])

    @with_checkpoint_logging
    @with_temp_dir
    def test_a_folder_each(self):
        self.assertFalse(torch.distributed.is_initialized())
        self.assertEqual(os.listdir(self.temp_dir), [])

    @with_comms
    @with_temp_dir
    def test_fails_in_the_folder(self):
        torch.load(os.path.join(self.temp_dir, "nothing"))


instantiate_parametrized_tests(ExtensionsTest)

if __name__ == "__main__":
    run_tests()
