"""The same faults through PyTorch's own harness: each in a process of its own, since it may take that process along.

The sources are the same: only the imports of harness names change.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import faults.cases
from faults.campaign import Order, run_orders
from faults.fault import Fault
from faults.observe import Observation

__all__ = ["UPSTREAM_SECONDS", "run_upstream"]

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
_CASES = Path(faults.cases.__file__).parent
_PACKAGE = "upstream_cases"
_COMMON = "torch.testing._internal.common_distributed"
#: Deadline of a test: upstream needs some five seconds for three ranks on a loaded machine.
UPSTREAM_SECONDS = 15
#: A process that takes longer has come to no verdict.
_PATIENCE_SECONDS = 60
_AT_ONCE = 2


def run_upstream(chosen: Sequence[Fault]) -> dict[str, Observation]:
    """Runs the faults that can be said in upstream's terms, and returns what became of them, by test."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        _write_cases(Path(folder, _PACKAGE))
        orders = [
            Order(
                faults=(fault,),
                package=_PACKAGE,
                variables={"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(UPSTREAM_SECONDS)},
                path=(folder, str(_BENCHMARKS)),
                small_disk=fault.expected.small_disk,
                untouched=False,
                patience=_PATIENCE_SECONDS,
            )
            for fault in chosen
            if not fault.expected.ours_only
        ]
        return run_orders(orders, _AT_ONCE)


def _write_cases(folder: Path) -> None:
    sys.path.append(str(_BENCHMARKS))
    try:
        from bench.plan import CONTENDERS
        from bench.translate import rebase
    finally:
        sys.path.remove(str(_BENCHMARKS))
    (homes,) = (contender.homes for contender in CONTENDERS if contender.name == "upstream")
    homes = {**homes, "MultiProcessTestCase": _COMMON, "TEST_SKIPS": _COMMON}
    folder.mkdir()
    for source in _CASES.glob("*.py"):
        (folder / source.name).write_text(rebase(source.read_text(), homes))
