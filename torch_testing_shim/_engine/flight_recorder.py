"""Which collectives a rank is in, from a dump of torch's Flight Recorder.

Pure. The recorder is part of torch 2.13 and records gloo's collectives too, by default; gloo's send and recv it does
not record. What it knows and `collective_log` does not: whether a collective is over, and after which time it fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from torch_testing_shim._engine.collectives import group_title

__all__ = ["Collective", "collectives_in"]


@dataclass(frozen=True)
class Collective:
    """One collective that a rank has entered.

    Attributes:
        group: its process group, as people know it.
        number: which collective of the group it is, by the recorder's count, which has more than one for some.
        is_done: the rank is through with it.
        created_ns: when the rank entered it, in nanoseconds of the wall clock.
        timeout_seconds: after this it fails by itself.
    """

    group: str
    number: int
    is_done: bool = False
    created_ns: int = 0
    timeout_seconds: float = 0.0


def collectives_in(dump: str) -> tuple[Collective, ...]:
    """The collectives that a dump of the Flight Recorder holds, in their order; none in an empty text."""
    entries = json.loads(dump).get("entries", []) if dump else []
    return tuple(
        Collective(
            group=group_title(*entry["process_group"]),
            number=entry["collective_seq_id"],
            is_done=entry["retired"],
            created_ns=entry["time_created_ns"],
            timeout_seconds=entry["timeout_ms"] / 1000,
        )
        for entry in entries
        if not entry["is_p2p"]
    )
