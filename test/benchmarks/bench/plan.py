"""The cases and contenders to measure, and which contender runs which case."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[1]
TINY = _BENCHMARKS / "cases" / "tiny.py"
IDLE = _BENCHMARKS / "cases" / "idle.py"
PORTED = _BENCHMARKS.parent / "distributed" / "checkpoint" / "test_fsdp_optim_state.py"

#: The setting by which ranks are reused.
REUSE_RANKS = "TORCH_TESTING_SHIM_REUSE_RANKS"

_UPSTREAM = "torch.testing._internal"
_UPSTREAM_HOMES = {
    "DTensorTestBase": "bench.upstream",
    "with_comms": f"{_UPSTREAM}.distributed._tensor.common_dtensor",
    "with_temp_dir": f"{_UPSTREAM}.distributed.checkpoint_utils",
    "skip_if_lt_x_gpu": f"{_UPSTREAM}.common_distributed",
    "instantiate_parametrized_tests": f"{_UPSTREAM}.common_utils",
    "parametrize": f"{_UPSTREAM}.common_utils",
    "run_tests": f"{_UPSTREAM}.common_utils",
}


@dataclass(frozen=True)
class Contender:
    """A harness."""

    name: str  # as on the command line and in the table
    title: str  # what it is, for readers
    #: Where each harness name is imported from; empty for torch_testing_shim itself.
    homes: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)  # of the environment of its processes
    #: It imports a case's `preload` first; the others see to lazy imports themselves, or pay for them.
    preloads: bool = False


CONTENDERS = (
    Contender("floor", "bare fork loop", dict.fromkeys(_UPSTREAM_HOMES, "bench.bare"), preloads=True),
    Contender("ours", "torch_testing_shim DTensorTestBase"),
    Contender("reused", "torch_testing_shim DTensorTestBase in reused ranks", variables={REUSE_RANKS: "1"}),
    Contender(
        "continuous",
        "upstream MultiProcContinuousTest",
        {**_UPSTREAM_HOMES, "DTensorTestBase": "bench.continuous"},
    ),
    Contender("upstream", "upstream DTensorTestBase", _UPSTREAM_HOMES),
)
_GROWING = ("floor", "ours", "reused")


@dataclass(frozen=True)
class Case:
    """A test file, timed as a whole process."""

    name: str  # as in the table
    part: str  # what `--parts` calls it
    source: Path  # the test file
    tests: int  # how many tests it has
    ranks: int  # on how many ranks each runs
    contenders: tuple[str, ...] = tuple(c.name for c in CONTENDERS)  # names of those that run it
    preload: tuple[str, ...] = ()  # what its bodies import lazily
    journaled: bool = False  # it writes a journal, from which its verdicts are read; that costs time
    variables: dict[str, str] = field(default_factory=dict)  # of the environment of its processes


def _tiny(part: str, tests: int, ranks: int, contenders: tuple[str, ...]) -> Case:
    return Case(f"{part}: {tests} x {ranks} ranks", part, TINY, tests, ranks, contenders)


_PORTED_CASE = Case("ported", "ported", PORTED, tests=2, ranks=4, preload=("torch._dynamo",))
_EVERYONE = tuple(c.name for c in CONTENDERS)
_FULL = (
    _PORTED_CASE,
    _tiny("tiny", 20, 4, _EVERYONE),
    *(_tiny("growth", tests, ranks, _GROWING) for ranks in (2, 4, 16, 64) for tests in (1, 6)),
    _tiny("growth", 60, 4, _GROWING),
)
_QUICK = (
    _PORTED_CASE,
    _tiny("tiny", 3, 4, _EVERYONE),
    *(_tiny("growth", tests, 4, _GROWING) for tests in (1, 3)),
)
#: What `--parts` takes: parts made of cases, and "memory" and "reset", which modules of these names measure.
PARTS = ("ported", "tiny", "growth", "memory", "reset")


def select_cases(parts: tuple[str, ...], *, quick: bool) -> tuple[Case, ...]:
    """The cases of `parts`, in the order in which they are run."""
    return tuple(case for case in (_QUICK if quick else _FULL) if case.part in parts)
