"""What this harness and PyTorch's say of tests in which rank 1 alone ends badly: `cases/endings.py`, on 2 ranks.

    python test/benchmarks/compare_verdicts.py

None of these tests has passed, so every "ok" in the table is a wrong verdict. Exit status: 0 where this harness gives
none, 1 where it does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from bench.plan import CONTENDERS, Contender
from bench.translate import translate

_BENCHMARKS = Path(__file__).resolve().parent
_CASE = _BENCHMARKS / "cases" / "endings.py"
_TIMEOUT_SECONDS = 600.0


def main() -> int:
    contenders = {contender.name: contender for contender in CONTENDERS}
    upstream, ours = judge(contenders["upstream"]), judge(contenders["ours"])
    print(f"torch {torch.__version__}, rank 1 of 2 ends badly\n")
    print(f"{'':26}{'upstream':>10}{'seconds':>9}{'ours':>10}{'seconds':>9}")
    for test in upstream:
        words = "".join(f"{word:>10}{seconds:>9.2f}" for word, seconds in (upstream[test], ours[test]))
        print(f"{test.removeprefix('test_'):26}{words}")
    wrong = {name: sum(word == "ok" for word, _ in found.values()) for name, found in (("u", upstream), ("o", ours))}
    print(f"{'wrong verdicts':26}{wrong['u']:>10}{'':9}{wrong['o']:>10}")
    return 1 if wrong["o"] else 0


def judge(contender: Contender) -> dict[str, tuple[str, float]]:
    """The case's tests under a harness: test -> its word and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        source = translate(_CASE.read_text(), contender.homes)
        Path(folder, "endings.py").write_text(source.replace("sentinel.leave(self)", "pass"))
        results = Path(folder, "results.json")
        path = os.pathsep.join([folder, str(_BENCHMARKS), str(_BENCHMARKS.parents[1])])
        subprocess.run(
            [sys.executable, str(_BENCHMARKS / "bench" / "judge.py"), "endings", str(results)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
        words: dict[str, tuple[str, float]] = json.loads(results.read_text())
        return words


if __name__ == "__main__":
    sys.exit(main())
