"""Reads the collectives that a rank is in from a dump of torch's Flight Recorder. Pure.

Torch has the recorder since 2.13. It records gloo's collectives too, but not gloo's send and recv. It tells what
`collective_log` does not: whether a collective is over, and its time-out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from torch_testing_shim._engine.collectives import group_title


@dataclass(frozen=True)
class Collective:
    """A collective that a rank has entered."""

    group: str  # its process group, as people know it
    number: int  # its number in the group, by the recorder's count, which has more than one for some
    is_done: bool  # whether the rank is through with it
    created_ns: int  # when the rank entered it, in nanoseconds of the wall clock
    timeout_seconds: float  # the time after which it fails by itself


def collectives_in(dump: str) -> tuple[Collective, ...]:
    """Read the collectives in a dump of the Flight Recorder, in their order; none from an empty text."""
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
