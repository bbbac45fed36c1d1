"""Upstream's `MultiProcContinuousTest` for DTensor tests, under the name that the cases use.

Its ranks and its process group last for the class. `with_comms` finds no `init_pg` here and only calls the body.
"""

from __future__ import annotations

from torch.testing._internal.distributed._tensor.common_dtensor import NUM_DEVICES, DTensorContinuousTestBase


class DTensorTestBase(DTensorContinuousTestBase):
    """As many ranks as upstream's `DTensorTestBase` has; unset, it would be one on a machine without accelerators."""

    world_size = NUM_DEVICES
