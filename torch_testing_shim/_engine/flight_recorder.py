"""Where ranks parted: the collective that some entered and others did not, from torch's Flight Recorder.

Pure: the ranks' dumps in, lines of text out. The recorder is part of torch 2.13 and records gloo's collectives too, by
default; gloo's send and recv it does not record.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch_testing_shim._engine.outcome import ranks_text
from torch_testing_shim._engine.stacks import Place

__all__ = ["Collective", "collectives_in", "desync_lines", "latest_entries", "mismatch_lines"]


@dataclass(frozen=True)
class Collective:
    """One collective that a rank has entered.

    Attributes:
        group: its process group, as people know it.
        number: which collective of the group it is, from 1.
        name: "all_reduce".
        sizes: shapes of the tensors that the rank put in.
        types: their types, in the recorder's words: "Float".
        is_done: the rank is through with it.
        created_ns: when the rank entered it, in nanoseconds of the wall clock.
        timeout_seconds: after this it fails by itself.
    """

    group: str
    number: int
    name: str
    sizes: tuple[tuple[int, ...], ...] = ()
    is_done: bool = False
    created_ns: int = 0
    timeout_seconds: float = 0.0
    types: tuple[str, ...] = ()

    def __str__(self) -> str:
        shapes = ", ".join(str(list(size)) for size in self.sizes)
        return f"{self.name} of {shapes}" if shapes else self.name

    @property
    def with_types(self) -> str:
        return " ".join([str(self), *self.types])


def collectives_in(dump: str) -> tuple[Collective, ...]:
    """The collectives that a dump of the Flight Recorder holds, in their order; none in an empty text."""
    entries = json.loads(dump).get("entries", []) if dump else []
    return tuple(
        Collective(
            group=_group_name(*entry["process_group"]),
            number=entry["collective_seq_id"],
            name=entry["profiling_name"].rpartition(":")[2],
            sizes=tuple(tuple(size) for size in entry["input_sizes"]),
            is_done=entry["retired"],
            created_ns=entry["time_created_ns"],
            timeout_seconds=entry["timeout_ms"] / 1000,
            types=tuple(entry["input_dtypes"]),
        )
        for entry in entries
        if not entry["is_p2p"]
    )


def latest_entries(dump: str) -> str:
    """The dump less all but the last collective of each group: what a rank was in when it failed."""
    entries = json.loads(dump).get("entries", []) if dump else []
    last = {tuple(entry["process_group"]): entry for entry in entries if not entry["is_p2p"]}
    return json.dumps({"entries": list(last.values())}) if last else ""


def mismatch_lines(flights: Mapping[int, Iterable[Collective]]) -> list[str]:
    """One text for each collective that ranks entered with different operations, shapes or types.

    Args:
        flights: what each rank was in when it failed; those that did not fail, or cannot tell, are missing.
    """
    entered: dict[tuple[str, int], dict[int, Collective]] = {}
    for rank, collectives in flights.items():
        for collective in collectives:
            entered.setdefault((collective.group, collective.number), {})[rank] = collective
    told = ((group, number, _disagreement(ranks, set(ranks), {})) for (group, number), ranks in entered.items())
    return [f"collective {number} of {group}:{said}" for group, number, said in told if said]


def desync_lines(flights: Mapping[int, Iterable[Collective]], places: Mapping[int, Place]) -> list[str]:
    """One text for each process group: the first collective that is not through, if its ranks do not agree on it.

    Args:
        flights: what each rank recorded that was asked.
        places: where ranks stand now; a rank may be missing.
    """
    entered: dict[tuple[str, int], dict[int, dict[int, Collective]]] = {}  # by group, number and rank
    for rank, collectives in flights.items():
        for key, collective in _with_group(collectives):
            entered.setdefault(key, {}).setdefault(collective.number, {})[rank] = collective
    lines = []
    for (group, _), numbers in entered.items():
        members = set(flights) if group == _DEFAULT_GROUP else {rank for ranks in numbers.values() for rank in ranks}
        pending = [number for number, ranks in numbers.items() if not all(c.is_done for c in ranks.values())]
        if pending:
            number = min(pending)
            said = _disagreement(numbers[number], members, places)
            lines.extend([f"collective {number} of {group}:{said}"] if said else [])
    return lines


def _with_group(collectives: Iterable[Collective]) -> Iterator[tuple[tuple[str, int], Collective]]:
    """The collectives with their groups: name, and which group of this name, since a test may start it anew; its
    numbers then start anew."""
    times, last = Counter[str](), dict[str, int]()
    for collective in collectives:
        times[collective.group] += collective.number <= last.get(collective.group, 0)
        last[collective.group] = collective.number
        yield (collective.group, times[collective.group]), collective


def _disagreement(entered: Mapping[int, Collective], members: set[int], places: Mapping[int, Place]) -> str:
    """Who entered what; empty where all of the group entered the same."""
    absent = members - entered.keys()
    is_one = len({str(collective) for collective in entered.values()}) == 1
    is_of_one_type = len({collective.types for collective in entered.values()}) == 1
    if not absent and is_one and is_of_one_type:
        return ""
    who: dict[str, list[int]] = {}
    for rank in sorted(members):
        place = f" (now at {places[rank].where})" if rank in places else ""
        what = "did not"
        if rank in entered:
            what = f"entered {entered[rank] if is_of_one_type else entered[rank].with_types}"
        who.setdefault(what + place, []).append(rank)
    return "".join(f"\n  {ranks_text(ranks)} {what}" for what, ranks in who.items())


_DEFAULT_GROUP = "the default group"


def _group_name(name: str, description: str) -> str:
    if description == "default_pg":
        return _DEFAULT_GROUP
    return f"group {name}" if description in ("", "undefined") else f"group {description}"
