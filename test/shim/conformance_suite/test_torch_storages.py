"""The suite on the storages that come with torch: a row in `known` has to end as it says there (torch 2.13).

The file system's storage is taken through most; the others, which save and plan as it does, through fewer round trips.
"""

import importlib.util
from typing import ClassVar

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, state_dict_saver

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.conformance import CheckpointConformance, Selection
from torch_testing_shim.conformance._optimizers import OPTIMIZERS

try:
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter
except ImportError:  # torch brings it, unless it was installed without what it needs
    FsspecWriter = None
try:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
except ImportError:  # torch 2.6
    HuggingFaceStorageWriter = None

#: torch 2.13 itself does not do these, whatever the storage.
SHORT_PARAMETER = "refuses: load: RuntimeError: Missing key in checkpoint state_dict: training.optimizer.param_groups."
VIEW = "refuses: save: RuntimeError: Attempted to call copy_() on an invalid python storage."
#: torch 2.6 does not save in a part of the ranks.
OLDER = (
    {}
    if hasattr(state_dict_saver, "AsyncCheckpointerType")
    else {"saves: two at once, by two halves of the ranks": "refuses: save: ValueError: Global rank 0 is not part of"}
)
#: safetensors has no place for values that are not tensors; torch 2.13 writes them all the same, and says nothing.
HF_OTHER_VALUES = "refuses: load: AssertionError: metadata is None"

#: Adam and the fused AdamW have the same state as the first.
OF_EACH_STATE = [one for one in OPTIMIZERS if one.name not in ("Adam", "AdamW fused")]
#: For storages that save and plan as the file system's does.
FEWER = Selection(((2, 3),), OPTIMIZERS[:1], drawn_examples=8)


class FileSystem(CheckpointConformance):
    """Its saves that are struck at each step: see `test_fault_steps`."""

    selection = Selection(((2, 4), (3, 2)), OF_EACH_STATE, drawn_examples=12)
    blames_torch = False
    test_a_save_in_a_new_folder_that_fails = test_a_save_in_a_new_folder_whose_rank_dies = None
    test_a_save_over_an_old_checkpoint_that_fails = test_a_save_over_an_old_checkpoint_whose_rank_dies = None
    known: ClassVar = {
        "round trip of FSDP1: AdamW foreach, 2 -> 4, a parameter of one row": SHORT_PARAMETER,
        "asynchronous save of a view: by a thread": VIEW,
        **OLDER,
    }
    if OLDER:  # a group that is freed there while its own thread lets go of a collective hangs, and FSDP1 frees many
        test_round_trip_of_fsdp1 = None

    def writer(self, path):
        return FileSystemWriter(path)

    def reader(self, path):
        return FileSystemReader(path)


class Fsspec(CheckpointConformance):
    """On the local file system: one in memory would be another one in each rank."""

    selection = FEWER
    blames_torch = False
    test_round_trip_of_ddp = test_round_trip_of_fsdp1 = test_round_trip_of_hsdp = None
    test_round_trip_of_replicated = test_round_trip_of_tp = test_round_trip_of_tp_fsdp2 = None
    test_asynchronous_saves = test_asynchronous_save_of_a_view = None
    test_keys = test_drawn_states = None  # the planner's and the file system's own, as above
    known: ClassVar = OLDER
    test_a_save_in_a_new_folder_that_fails = test_a_save_in_a_new_folder_whose_rank_dies = None
    test_a_save_over_an_old_checkpoint_that_fails = test_a_save_over_an_old_checkpoint_whose_rank_dies = None

    def writer(self, path):
        return FsspecWriter(path)

    def reader(self, path):
        return FsspecReader(path)

    def setUp(self):
        if FsspecWriter is None:
            self.skipTest("fsspec is not installed")
        super().setUp()


class HuggingFace(CheckpointConformance):
    selection = FEWER
    blames_torch = False
    test_round_trip_of_ddp = test_round_trip_of_fsdp1 = test_round_trip_of_hsdp = None
    test_round_trip_of_replicated = test_round_trip_of_tp = test_round_trip_of_tp_fsdp2 = None
    test_asynchronous_saves = test_asynchronous_save_of_a_view = None
    test_a_save_in_a_new_folder_whose_rank_dies = None
    test_a_save_over_an_old_checkpoint_that_fails = test_a_save_over_an_old_checkpoint_whose_rank_dies = None
    known: ClassVar = {
        # each file says of itself what it holds: what the other ranks have written loads
        "a save in a new folder that fails: fail rank 0 at its 1st StorageWriter.write_data()": "WRONG: load: MIXED",
        "round trip of FSDP2: AdamW foreach, 2 -> 3": HF_OTHER_VALUES,
        "round trip of FSDP2: AdamW foreach, 2 -> 3, a parameter of one row": HF_OTHER_VALUES,
        "values: complex128": "refuses: save: KeyError: torch.complex128",
        "values: values that are no tensors": HF_OTHER_VALUES,
        # files of ranks that there no longer are stay, and are read
        "saves: over an old checkpoint of more ranks": "WRONG: load: twin in its shard",
    }

    def writer(self, path):
        return HuggingFaceStorageWriter(path, save_distributed=True)

    def reader(self, path):
        return HuggingFaceStorageReader(path)

    def setUp(self):
        if HuggingFaceStorageWriter is None or importlib.util.find_spec("safetensors") is None:
            self.skipTest("needs safetensors, and a torch with HuggingFaceStorageWriter")
        super().setUp()


if __name__ == "__main__":
    run_tests()
