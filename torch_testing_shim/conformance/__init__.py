"""A suite of checks for storages of distributed checkpoints (writers and readers), on any machine.

x
"""

from torch_testing_shim.conformance._case import CheckpointConformance
from torch_testing_shim.conformance._selection import DEFAULT, THOROUGH, Selection

__all__ = ["DEFAULT", "THOROUGH", "CheckpointConformance", "Selection"]
