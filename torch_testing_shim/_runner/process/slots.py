"""What files that run at the same time share: rank slots and accelerators. Pure but for the `Budget`'s own counts.

A file takes as many slots as its largest test has ranks. A core has room for `RANKS_PER_CORE` ranks, which wait for
each other most of the time: two files of 4 ranks run at once on two cores, and ten do not, however many jobs are asked
for. A file that needs more than there is runs alone.

Accelerators are leased to one file at a time: as many as it has ranks, or all where there are fewer. A file that does
not import torch has none, and where ranks may share them, files do, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Budget", "Lease", "ranks_in_source", "slot_count"]

#: How many ranks a core has room for.
RANKS_PER_CORE = 4
#: The ranks of a test whose number is not written down: what the harness starts by default.
DEFAULT_RANKS = 4
#: What only files with ranks say: it is how their number is told and asked for.
WORLD_SIZE = "world_size"


def slot_count(jobs: int, cores: int) -> int:
    """How many rank slots there are: what the cores have room for, but at least one for each job."""
    return max(jobs, RANKS_PER_CORE * cores)


def ranks_in_source(source: bytes) -> int:
    """The ranks of a file's largest test, as far as its source tells: 1 for a file without ranks.

    A number that is assigned to or returned from a `world_size` counts; where none is written, the harness's default.
    """
    if WORLD_SIZE.encode() not in source and b"DTensorTestBase" not in source and b"MultiProc" not in source:
        return 1
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return 1
    constants = dict(_constants(tree))
    numbers = [number for value in _world_sizes(tree) if (number := _number(value, constants)) is not None]
    return max(1, *numbers) if numbers else DEFAULT_RANKS


def _constants(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The whole numbers that have names at the top of the module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and (number := _number(node.value, {})) is not None:
            yield from ((target.id, number) for target in node.targets if isinstance(target, ast.Name))


def _world_sizes(tree: ast.Module) -> Iterator[ast.expr]:
    """What is assigned to, or returned from, something called `world_size`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == WORLD_SIZE:
            yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None)
        value = getattr(node, "value", None)
        if isinstance(value, ast.expr) and WORLD_SIZE in _targets(node):
            yield value


def _targets(node: ast.AST) -> list[str]:
    """The names that a node gives its value to."""
    if isinstance(node, ast.keyword):
        return [node.arg or ""]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [_name(target) for target in targets]


def _name(node: ast.expr) -> str:
    return str(getattr(node, "id", "") or getattr(node, "attr", ""))


def _number(node: ast.expr, constants: dict[str, int]) -> int | None:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return constants.get(_name(node))


@dataclass(frozen=True)
class Lease:
    """What one process has been given.

    Attributes:
        slots: how many rank slots.
        devices: the indices of its accelerators; None where all are free to use.
    """

    slots: int
    devices: tuple[int, ...] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a process is told of it."""
        if self.devices is None:
            return {}
        return {"TORCH_TESTING_SHIM_DEVICE_INDICES": ",".join(map(str, self.devices))}


class Budget:
    """What there is, less what is leased.

    Args:
        slots: how many rank slots there are.
        devices: how many accelerators are to be leased; 0 where there are none, or where each file may use all.
    """

    def __init__(self, slots: int, devices: int = 0) -> None:
        self._slots = self._free_slots = slots
        self._device_count = devices
        self._free_devices = list(range(devices))

    def take(self, ranks: int, *, uses_devices: bool = True) -> Lease | None:
        """A lease for a file of so many ranks, or None where there is too little left now."""
        slots = min(ranks, self._slots)
        devices = min(ranks, self._device_count) if uses_devices else 0
        if slots > self._free_slots or devices > len(self._free_devices):
            return None
        self._free_slots -= slots
        if not devices:
            return Lease(slots)
        given, self._free_devices = self._free_devices[:devices], self._free_devices[devices:]
        return Lease(slots, tuple(given))

    def give_back(self, lease: Lease) -> None:
        """Ends a lease."""
        self._free_slots += lease.slots
        self._free_devices = sorted([*self._free_devices, *(lease.devices or ())])
