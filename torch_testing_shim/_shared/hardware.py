"""The hardware that a class of tests is for, as it says itself: `hw_classification`, and the choice by it.

    class TestKernels(TestCase):
        hw_classification = HardwareClassification.CUDA

With `--hw-classification NAME ...` only tests of classes that say one of the names run; without it all do. Standard
library only, since pytest loads it with the plugin wherever this package is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class HardwareClassification(Enum):
    """The hardware that the tests of a class need (upstream's name and members, torch 2.14).

    GENERIC tests need no device, ACCELERATOR tests hold on each accelerator, and the others are for one device.
    """

    GENERIC = "generic"
    ACCELERATOR = "accelerator"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
    XPU = "xpu"


#: The values of `--hw-classification`.
HARDWARE = tuple(HardwareClassification.__members__)


class HardwareError(TypeError):
    """A class says something else than a `HardwareClassification`; the message is one sentence."""


@dataclass(frozen=True)
class HardwareChoice(Generic[Item]):
    """The result of a choice by hardware."""

    names: tuple[str, ...]
    chosen: tuple[Item, ...]  # the items of classes that say one of the names that were asked for
    otherwise: tuple[Item, ...]  # the items of classes that say another
    unclassified: tuple[Item, ...]  # the items of classes that say nothing, and of no class

    @property
    def left_out(self) -> tuple[Item, ...]:
        return (*self.otherwise, *self.unclassified)

    def __str__(self) -> str:
        """The number of items left out, in one line."""
        names = " ".join(self.names)
        other, silent = f"{len(self.otherwise)} for other hardware", f"{len(self.unclassified)} that name none"
        return f"--hw-classification {names}: {len(self.left_out)} tests left out, of classes {other} and {silent}"


def add_hardware_option(add: Callable[..., Any]) -> None:
    """Add `--hw-classification` to a command line; `add` is argparse's `add_argument` or pytest's `addoption`."""
    values: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "type": str.upper, "choices": HARDWARE}
    says = f"hw_classification = {', '.join(HARDWARE[:-1])} or {HARDWARE[-1]}"
    add("--hw-classification", metavar="NAME", help=f"run only tests of classes that say {says}", **values)


def get_hw_classification(test_case_cls: type) -> HardwareClassification | None:
    """The classification of a class or of one of its bases; None where none has one (upstream's name, torch 2.14).

    Raises:
        HardwareError: it says something else, which is a `TypeError`, as upstream's.
    """
    said: object = getattr(test_case_cls, "hw_classification", None)
    if said is None:
        return None
    if isinstance(said, Enum) and said.name in HardwareClassification.__members__:  # or torch's own of that name
        return HardwareClassification[said.name]
    name = f"{test_case_cls.__module__}.{test_case_cls.__qualname__}"
    raise HardwareError(f"hw_classification of {name} must be a HardwareClassification, not {said!r}")


def choose_by_hardware(
    items: Iterable[Item], names: Collection[str], class_of: Callable[[Item], type | None]
) -> HardwareChoice[Item]:
    """Sort items by what their classes say: `names` are names of members of `HardwareClassification`."""
    chosen: list[Item] = []
    otherwise: list[Item] = []
    unclassified: list[Item] = []
    for item in items:
        cls = class_of(item)
        said = get_hw_classification(cls) if cls is not None else None
        (unclassified if said is None else chosen if said.name in names else otherwise).append(item)
    return HardwareChoice(tuple(names), tuple(chosen), tuple(otherwise), tuple(unclassified))


def filter_by_hw_classification(
    items: Iterable[Any],
    requirement: set[HardwareClassification],
    get_class: Callable[[Any], type | None],
    *,
    on_match: Callable[[Any], None],
) -> None:
    """Call `on_match` with each item whose class says one of `requirement`, and print how many were left out
    (upstream's name, torch 2.14; PyTorch's conftest calls it)."""
    wanted = [each.name for each in HardwareClassification if each in requirement]
    choice = choose_by_hardware(items, wanted, get_class)
    for item in choice.chosen:
        on_match(item)
    print(choice)
