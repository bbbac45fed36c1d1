"""The work of a reused rank after each test: it puts back its state and compares its fingerprint. In its own process:

python -m bench.reset
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROUNDS = 40
_ROOT = Path(__file__).resolve().parents[3]


def measure_reset() -> dict[str, float]:
    """The medians in milliseconds, with the modules that a test of DTensors has imported."""
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "test" / "benchmarks")])
    command = [sys.executable, "-m", "bench.reset"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _main() -> None:
    from torch_testing_shim._isolation.fingerprint import differences, take_fingerprint
    from torch_testing_shim._isolation.rank_reset import RankReset
    from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

    reset, fingerprint = RankReset.of_this_process(), take_fingerprint([DTensorTestBase])
    steps = {"reset": reset.restore, "fingerprint": lambda: differences(fingerprint)}
    print(json.dumps({name: round(_milliseconds(step), 3) for name, step in steps.items()}))


def _milliseconds(step: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    _main()
