"""States that hypothesis draws: types, shapes, placements and numbers of ranks. All ranks try the same example at the
same time, and a failure shrinks over all of them to the smallest example.

    rank 0       hypothesis --- example ---> saves, loads, compares <--- ends of all ranks: the property holds or not
    other ranks             `--- example ---> saves, loads, compares
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.errors import Flaky
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._outcomes import Kind, Outcome, RowFailedError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._states import State, blank, filled, placed, transfer
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_RANKS = 4
#: Types of tensors, the simplest first: an example shrinks towards it.
_DTYPES = tuple(
    name
    for name in ("float32", "bfloat16", "float16", "float64", "int64", "uint8", "bool", "complex64", "float8_e4m3fn")
    if hasattr(torch, name)
)
#: How a tensor lies on ranks, beside a dimension that is cut.
_PLAIN, _REPLICATED = "plain", "replicated"


@dataclass(frozen=True)
class TensorExample:
    """One tensor of an example.

    Attributes:
        dtype: name of its type, "float32".
        shape: its shape.
        saved_as: how it lies on the ranks that save: "plain", "replicated", or the number of the dimension that is cut.
        loaded_as: the same on the ranks that load.
    """

    dtype: str
    shape: tuple[int, ...]
    saved_as: str
    loaded_as: str

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)} {_words(self.saved_as)} -> {_words(self.loaded_as)}"


@dataclass(frozen=True)
class Example:
    """A state, and the numbers of ranks that save and load it."""

    before: int
    after: int
    tensors: tuple[TensorExample, ...]

    def __str__(self) -> str:
        return f"{self.before} -> {self.after} ranks: {'; '.join(map(str, self.tensors))}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Example:
        fields = json.loads(text)
        tensors = tuple(
            TensorExample(each["dtype"], tuple(each["shape"]), each["saved_as"], each["loaded_as"])
            for each in fields["tensors"]
        )
        return cls(fields["before"], fields["after"], tensors)


def _words(placement: str) -> str:
    return placement if placement in (_PLAIN, _REPLICATED) else f"cut in dimension {placement}"


@st.composite
def _tensors(draw: st.DrawFn) -> TensorExample:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=3)))
    placements = st.sampled_from([_PLAIN, _REPLICATED, *map(str, range(len(shape)))])
    return TensorExample(draw(st.sampled_from(_DTYPES)), shape, draw(placements), draw(placements))


def examples() -> st.SearchStrategy[Example]:
    """Return hypothesis's strategy of examples."""
    ranks = st.integers(1, _RANKS)
    return st.builds(Example, ranks, ranks, st.lists(_tensors(), min_size=1, max_size=4).map(tuple))


def _try(example: Example, storage: Storage, stage: Stage) -> None:
    """Save, load and compare in all ranks.

    Raises:
        RowFailedError: a step failed; raised by every rank.
    """
    wholes = {
        f"tensor {number}": filled(getattr(torch, tensor.dtype), tensor.shape, number)
        for number, tensor in enumerate(example.tensors)
    }

    def state(how: Callable[[TensorExample], str], value: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def made(mesh: DeviceMesh) -> State:
            pairs = zip(wholes.items(), example.tensors, strict=True)
            return {name: _lying(value(whole), how(tensor), mesh) for (name, whole), tensor in pairs}

        return made

    saved = state(lambda tensor: tensor.saved_as, torch.clone)
    target = state(lambda tensor: tensor.loaded_as, blank)
    try:
        transfer(stage, storage, (example.before, example.after), saved, target, wholes)
    finally:
        stage.clear()


def _lying(whole: torch.Tensor, placement: str, mesh: DeviceMesh) -> torch.Tensor:
    if placement == _PLAIN:
        return whole.to(mesh.device_type)
    return placed(whole, mesh, Replicate() if placement == _REPLICATED else Shard(int(placement)))


def _lead(count: int, storage: Storage, stage: Stage) -> Outcome:
    """Draw examples in rank 0, and try them with the others. Return how the property has ended."""
    failed: list[tuple[Example, Outcome]] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(examples())
    def holds(example: Example) -> None:
        stage.told(example.to_json())
        try:
            _try(example, storage, stage)
        except RowFailedError as failure:
            failed.append((example, failure.outcome))
            raise

    try:
        holds()
    except (RowFailedError, Flaky) as error:
        example, outcome = failed[-1]
        often = ", but not each time" if isinstance(error, Flaky) else ""
        return Outcome(outcome.kind, f"{outcome.text} (smallest example{often}: {example})")
    return Outcome(Kind.OK, f"{count} examples")


def _follow(storage: Storage, stage: Stage) -> Outcome:
    """Try the examples that rank 0 draws. Return the end that it tells."""
    while True:
        told = stage.told()
        if told.startswith("["):
            kind, text = json.loads(told)
            return Outcome(Kind[kind], text)
        with suppress(RowFailedError):  # rank 0 has seen it, too
            _try(Example.from_json(told), storage, stage)


def _drawn(count: int, storage: Storage, stage: Stage) -> str:
    if stage.rank == 0:
        outcome = _lead(count, storage, stage)
        stage.told(json.dumps([outcome.kind.name, outcome.text]))
    else:
        outcome = _follow(storage, stage)
    if outcome.kind is not Kind.OK:
        raise RowFailedError(outcome)
    return outcome.text


def _trials(storage: Storage) -> list[Trial]:
    count = storage.selection.drawn_examples
    return [Trial("of tensors", _RANKS, lambda stage: _drawn(count, storage, stage))]


DRAWN = Check("drawn states", _trials)
