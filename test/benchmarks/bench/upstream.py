"""Upstream's `DTensorTestBase`, adapted to the CPU as the ported test needs it.

A test composes its backend as "cpu:gloo,<device>:<its backend>". On the CPU that names one device twice, which torch
refuses; it means gloo.
"""

from __future__ import annotations

from typing import Any

from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase as _UpstreamDTensorTestBase


class DTensorTestBase(_UpstreamDTensorTestBase):
    def init_pg(self, eager_init: Any, backend: str | None = None) -> None:
        super().init_pg(eager_init, "gloo" if self.device_type == "cpu" else backend)
