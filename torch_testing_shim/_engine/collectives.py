"""Finds where ranks parted: the collective that not all ranks of a group entered, or that they entered differently.

Pure but for `read_log`: the ranks' logs in, partings out. `collective_log` writes the logs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch_testing_shim._engine.outcome import ranks_text
from torch_testing_shim._engine.stacks import Place

#: How many collectives of a process group a log keeps (the last ones), and the bytes of each.
LINES, LINE_BYTES = 16, 256
#: Bytes of a part's first line, enough for a group of some 600 ranks.
HEADER_BYTES = 4096
#: First bytes of a file that does not hold all collectives of its rank.
INCOMPLETE = b"incomplete"


@dataclass(frozen=True)
class GroupHeader:
    """The first line of the log of one process group."""

    name: str  # torch's name of the group
    description: str  # the user's
    generation: int  # 1-based number among the groups of this name: a test may start its default group anew
    rank: int  # the logging process's number in `torch.distributed`, which the test chooses
    members: tuple[int, ...]  # these numbers of all ranks of the group, in the group's order

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.generation

    def to_line(self) -> bytes:
        """Format the line.

        Raises:
            ValueError: it is longer than `HEADER_BYTES`.
        """
        line = json.dumps(asdict(self)).encode()
        if len(line) >= HEADER_BYTES:
            raise ValueError(f"a group of {len(self.members)} ranks has too long a header")
        return line.ljust(HEADER_BYTES - 1) + b"\n"

    @classmethod
    def from_line(cls, line: str) -> GroupHeader:
        fields = json.loads(line)
        return cls(**fields | {"members": tuple(fields["members"])})


@dataclass(frozen=True)
class Entered:
    """A collective as one rank entered it. Two ranks entered the same one if all but `shapes` is equal."""

    name: str  # "all_reduce"
    details: str = ""  # its reduction and its root; may be empty
    types: str = ""  # the types of its tensors
    shapes: str = ""  # their shapes, as people write them
    checksum: str = ""  # of the numbers of elements, where the collective needs the same ones on all ranks

    @property
    def agreed(self) -> tuple[str, ...]:
        """The parts that have to be the same on all ranks."""
        return self.name, self.details, self.types, self.checksum

    def text(self, *, with_types: bool, with_details: bool) -> str:
        """Describe it for people: "all_reduce of [3]", with types and details if asked."""
        shapes = f"of {self.shapes}" if self.shapes else ""
        details = f"({self.details})" if self.details and with_details else ""
        return " ".join(filter(None, [self.name, details, shapes, self.types if with_types else ""]))


@dataclass(frozen=True)
class Parting:
    """The first collective of a group on which its ranks do not agree."""

    title: str  # the group, as people know it
    number: int  # 1-based number among the group's collectives
    entered: Mapping[int, Entered]  # the collective that each rank entered here
    absent: tuple[int, ...] = ()  # the ranks of the group that entered none

    @property
    def is_mismatch(self) -> bool:
        """Whether ranks entered different collectives."""
        return len({entered.agreed for entered in self.entered.values()}) > 1

    @property
    def camps(self) -> list[tuple[str, list[int]]]:
        """Descriptions of what ranks did, each with its ranks; the minorities come first."""
        sizes = Counter(entered.agreed for entered in self.entered.values())
        is_one = len({entered.name for entered in self.entered.values()}) == 1
        with_types = is_one and len({entered.types for entered in self.entered.values()}) > 1
        with_details = is_one and len({entered.details for entered in self.entered.values()}) > 1
        camps: dict[tuple[int, str, object], list[int]] = {}
        if self.absent:
            camps[len(self.absent), "entered nothing", None] = list(self.absent)
        for rank, entered in sorted(self.entered.items()):
            text = f"entered {entered.text(with_types=with_types, with_details=with_details)}"
            camps.setdefault((sizes[entered.agreed], text, entered.agreed), []).append(rank)
        texts = Counter(text for _, text, _ in camps)
        return [
            (text if texts[text] == 1 else f"{text} with other sizes", ranks)
            for (_, text, _), ranks in sorted(camps.items(), key=lambda camp: camp[0][0])
        ]

    @property
    def headline(self) -> str:
        """One line that begins with the minority."""
        return self.headline_by(ranks_text)

    def headline_by(self, named: Callable[[Sequence[int]], str]) -> str:
        """The same with names for ranks."""
        (first, ranks), *others = [(text, named(ranks)) for text, ranks in self.camps]
        told = [f"{ranks} {first} as collective {self.number} of {self.title}", *(f"{r} {text}" for text, r in others)]
        return ", ".join(told)

    def lines(self, places: Mapping[int, Place]) -> str:
        """List which rank did what, and where each stands now as far as that is known."""
        who: dict[tuple[int, str], list[int]] = {}
        for number, (text, ranks) in enumerate(self.camps):
            for rank in ranks:
                place = f" (now at {places[rank].where})" if rank in places else ""
                who.setdefault((number, ("did not" if rank in self.absent else text) + place), []).append(rank)
        ordered = sorted((ranks, text) for (_, text), ranks in who.items())
        told = "".join(f"\n  {ranks_text(ranks)} {text}" for ranks, text in ordered)
        return f"collective {self.number} of {self.title}:{told}"


def partings(logs: Mapping[int, str | None]) -> list[Parting]:
    """Return the first parting of each process group whose ranks parted, in the order of the groups.

    Args:
        logs: results of `read_log`, by rank; None for a rank without a log.
    """
    groups: dict[tuple[str, int], dict[int, _GroupLog]] = {}
    ranks: dict[int, int] = {}  # number in torch.distributed -> rank
    for rank, text in logs.items():
        for log in _group_logs(text or ""):
            groups.setdefault(log.header.key, {})[rank] = log
            ranks[log.header.rank] = rank
    known = {rank for rank, text in logs.items() if text is not None}
    found = []
    for members in groups.values():
        header = next(iter(members.values())).header
        others = {ranks.get(member, member) for member in header.members} & known
        found.append(_first_parting(group_title(header.name, header.description), members, others - members.keys()))
    return [parting for parting in found if parting is not None]


def read_log(path: Path) -> str | None:
    """Read a rank's log, group by group; None where the log is missing or incomplete."""
    try:
        text = path.read_bytes()
    except OSError:
        return None
    if text.startswith(INCOMPLETE):
        return None
    text = re.sub(rb"\n+", b"\n", text)  # a part that nothing has been written into is thousands of empty lines
    return "".join(line.rstrip(" ") + "\n" for line in text.decode(errors="replace").splitlines() if line.strip())


def group_title(name: str, description: str) -> str:
    """Return a process group's name for people."""
    if description == "default_pg":
        return "the default group"
    return f"group {name}" if description in ("", "undefined") else f"group {description}"


@dataclass(frozen=True)
class _GroupLog:
    """The last collectives of one rank with one process group, by number."""

    header: GroupHeader
    entered: Mapping[int, Entered]

    @property
    def last(self) -> int:
        return max(self.entered, default=0)


def _group_logs(text: str) -> Iterator[_GroupLog]:
    header, entered = None, dict[int, Entered]()
    for line in text.splitlines():
        if line.startswith("{"):
            if header is not None:
                yield _GroupLog(header, entered)
            header, entered = GroupHeader.from_line(line), {}
        elif len(fields := line.rstrip(" ").split("\t")) == 6:  # else the line is empty or torn
            number, checksum, name, details, types, shapes = fields
            entered[int(number)] = Entered(name, details, types, shapes, checksum)
    if header is not None:
        yield _GroupLog(header, entered)


def _first_parting(title: str, logs: Mapping[int, _GroupLog], silent: Collection[int]) -> Parting | None:
    """Return the first collective on which ranks do not agree, as far as it has not been overwritten.

    Args:
        title: the group, for people.
        logs: logs of the ranks that have entered any collective with it.
        silent: the other ranks of the group.
    """
    for number in sorted({number for log in logs.values() for number in log.entered}):
        entered = {rank: log.entered[number] for rank, log in logs.items() if number in log.entered}
        absent = [rank for rank, log in logs.items() if log.last < number]
        parting = Parting(title, number, entered, tuple(sorted([*absent, *silent])))
        if parting.absent or parting.is_mismatch:
            return parting
    return None
