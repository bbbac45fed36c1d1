"""The suite on the storages that come with torch. A row in `known` has to end as it says there."""

import importlib.util
import unittest

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, hf_storage

from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.conformance import CheckpointConformance, Selection
from torch_testing_shim.conformance._optimizers import OPTIMIZERS

#: Fewer round trips than a storage's author makes.
FIVE_OPTIMIZERS = Selection(((4, 3), (2, 4)))
ONE_OPTIMIZER = Selection(((2, 3),), OPTIMIZERS[:1])

#: What torch 2.13 itself does not do, whatever the storage.
SHORT_PARAMETER = "refuses: load: RuntimeError: Missing key in checkpoint state_dict: training.optimizer.param_groups."
VIEW = "refuses: save: RuntimeError: Attempted to call copy_() on an invalid python storage."


class FileSystem(CheckpointConformance):
    selection = FIVE_OPTIMIZERS
    blames_torch = False
    known = {
        "round trip of FSDP1: AdamW foreach, 4 -> 3, a parameter of one row": SHORT_PARAMETER,
        "asynchronous save of a view: by a thread": VIEW,
    }

    def writer(self, path):
        return FileSystemWriter(path)

    def reader(self, path):
        return FileSystemReader(path)


class FewerRoundTrips(CheckpointConformance):
    """The checks for the other storages, which have the file system's ways of resharding."""

    selection = ONE_OPTIMIZER
    test_round_trip_of_ddp = test_round_trip_of_hsdp = test_round_trip_of_replicated = None
    test_round_trip_of_tp = test_round_trip_of_tp_fsdp2 = None

    def setUp(self):
        if type(self) is FewerRoundTrips:
            raise unittest.SkipTest("has no storage of its own")
        super().setUp()
