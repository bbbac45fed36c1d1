"""Files that run at the same time share the devices out: no two of them hold one at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from gpu_check.machine import Machine
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import FOLDER, ROOT, SAMPLES, run_python

_FILES = 3
_WHAT = f"{_FILES} files at a time: leases"
_EXPECTED = "no two hold a device at once"


@dataclass(frozen=True)
class Held:
    """A device that a file has held."""

    index: int  # which one
    #: When, in seconds since the epoch.
    began: float
    ended: float


def met(held: Sequence[Held]) -> list[int]:
    """The devices that two files have held at once. Pure."""
    pairs = combinations(held, 2)
    return sorted({a.index for a, b in pairs if a.index == b.index and a.began < b.ended and b.began < a.ended})


class LeaseCheck:
    """Runs copies of a file by `run_test.py -j`."""

    name = "leases"

    def rows(self, _: Machine) -> list[Row]:
        """The one row."""
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
            tree = Path(name)
            (tree / "test").mkdir()
            shutil.copy(ROOT / "run_test.py", tree)
            shutil.copy(SAMPLES / "here.py", tree / "test")
            for number in range(_FILES):
                shutil.copy(SAMPLES / "leased.py", tree / "test" / f"test_leased_{number}.py")
            run = run_python([str(tree / "run_test.py"), f"-j{_FILES}", "--keep-going"], {FOLDER: str(tree)})
            held = [Held(*json.loads(path.read_text())) for path in tree.glob("held-*.json")]
        twice = met(held)
        is_right = run.exit_code == 0 and len(held) == _FILES and not twice
        indices = ", ".join(map(str, sorted({each.index for each in held}))) or "none"
        seen = f"{len(held)} of {_FILES} passed, on devices {indices}" + (f"; met on {twice}" if twice else "")
        verdict = Verdict.OK if is_right else Verdict.FAILED
        return [Row(_WHAT, _EXPECTED, seen, verdict, run.seconds, "" if is_right else run.output[-3000:])]
