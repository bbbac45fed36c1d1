"""Which backends of torch 2.13 can do what: `DistTestCases`, a table that backend tests look up, not this harness."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["DistTestCases"]

_EVERYWHERE = ("nccl", "gloo", "ucc")


class DistTestCases:
    """Upstream's `DistTestCases`, torch 2.13. Tests of further backends add to its sets.

    Attributes:
        skip_collective: collective -> the backends without it.
        backend_feature: feature, or device type -> the backends that have it.
    """

    skip_collective: ClassVar[dict[str, set[str]]] = {
        "reduce": set(),
        "cpu barrier": {"xccl", "ucc", "nccl"},
        "sendrecv anysource": {"xccl", "ucc", "nccl"},
        "allgather_coalesced": {"xccl", "ucc", "nccl", "mpi"},
    }
    backend_feature: ClassVar[dict[str, set[str]]] = {
        **{feature: set(_EVERYWHERE) for feature in ("gpu", "cuda", "ddp", "subgroup")},
        "plugin": set(),
        "hpu": {"hccl"},
        "xpu": {"xccl"},
    }
