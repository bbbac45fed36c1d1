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

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
_CASES = Path(faults.cases.__file__).parent
_PACKAGE = "upstream_cases"
_COMMON = "torch.testing._internal.common_distributed"
#: Deadline of a test: upstream's three ranks need ten seconds to come to the fault on two cores, each with imports of
#: its own, so that two tests at once would be in each other's way.
_DEADLINE_SECONDS = 30
_AT_ONCE = 1
#: A process that takes longer has come to no verdict. Upstream waits for twice the deadline.
_PATIENCE_SECONDS = 120


def run_upstream(chosen: Sequence[Fault]) -> dict[str, Observation]:
    """Runs the faults that can be said in upstream's terms, and returns what became of them, by test."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        _write_cases(Path(folder, _PACKAGE))
        orders = [
            Order(
                faults=(fault,),
                package=_PACKAGE,
                variables={"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(_DEADLINE_SECONDS)},
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
