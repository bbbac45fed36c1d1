"""Times how long the runner takes to choose: `python test/benchmarks/bench/choice.py`.

Whole processes, medians: `--list` of this repository, and 2,000 generated test files listed, selected by glob, and
planned for shards by recorded times. A line ends in TOO SLOW where a target is missed; that does not change the exit
status, which is 1 only where a command failed.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: How many files are generated, in how many folders.
FILES, FOLDERS = 2000, 40
REPEATS = 5


@dataclass(frozen=True)
class Choice:
    """One command and what it took."""

    what: str  # in a few words
    files: int  # how many files it chose
    seconds: float  # the median of its times
    target: float  # what it may take, in seconds

    def __str__(self) -> str:
        verdict = "" if self.seconds < self.target else "  TOO SLOW"
        return f"{self.what:<52}{self.files:>6} files{self.seconds:>8.3f} s  (below {self.target:g} s){verdict}"


def measure_choices(repeats: int = REPEATS) -> list[Choice]:
    """Run every command `repeats` times.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-choice-") as folder:
        tree = Path(folder)
        times = _generate(tree)
        planned = ("--shard", "2", "4", "--times", str(times))
        some = ("distributed/*[02468]", "-x", "distributed/part_7/*", "--bring-to-front", "distributed/part_3")
        return [
            _measure("--list of this repository", ROOT, (), 0.3, repeats),
            _measure("--list", tree, (), 1.0, repeats),
            _measure("selected by globs", tree, some, 1.0, repeats),
            _measure("a shard of 4, by recorded times", tree, planned, 1.0, repeats),
            _measure("selected by globs, a shard of 4, by recorded times", tree, (*some, *planned), 1.0, repeats),
        ]


def main() -> int:
    try:
        choices = measure_choices()
    except subprocess.CalledProcessError as error:
        print(error, error.stderr, sep="\n", file=sys.stderr)
        return 1
    print("\n".join(map(str, choices)))
    return 0


def _measure(what: str, tree: Path, arguments: Sequence[str], target: float, repeats: int) -> Choice:
    command = [sys.executable, str(tree / "run_test.py"), "--list", *arguments]
    times, files = [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - began)
        files = len(done.stdout.splitlines())
    return Choice(what, files, statistics.median(times), target)


def _generate(tree: Path) -> Path:
    """Write the files and a times file that knows three quarters of them; return its path."""
    shutil.copy(ROOT / "run_test.py", tree)
    (tree / "torch_testing_shim").symlink_to(ROOT / "torch_testing_shim")
    names = [f"distributed/part_{number % FOLDERS}/test_{number}" for number in range(FILES)]
    for folder in range(FOLDERS):
        (tree / "test" / "distributed" / f"part_{folder}").mkdir(parents=True)
    for name in names:
        (tree / "test" / f"{name}.py").touch()
    numbers = random.Random(1)
    known = [name for name in names if numbers.random() < 0.75]
    tests = {f"Class.test_{number}": {"seconds": 1.0, "at": 1.0, "ranks": 4} for number in range(5)}
    files = {name: {"seconds": numbers.uniform(1, 100), "at": 1.0, "tests": tests} for name in known}
    times = tree / "times.json"
    times.write_text(json.dumps({"version": 1, "files": files}))
    return times


if __name__ == "__main__":
    sys.exit(main())
