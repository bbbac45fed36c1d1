"""Measures how the verdict over one joined test grows with its ranks: seconds, and what each rank asks the store.

    python test/benchmarks/bench_ranks.py                          4, 16, 64 and 128 ranks, medians of 20 tests
    python test/benchmarks/bench_ranks.py --ranks 4 8 --tests 3    a short run
    python test/benchmarks/bench_ranks.py --json results.json

The ranks are forks of this process on this machine, with the variables that torchrun sets; the store is here. The tests
are empty and make no process group, so that all that they take is the harness's: to agree on the test, to gather the
outcomes, to fold them at every rank, to report at rank 0. Exit status: 0 where every rank of every run passed, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.options import as_count, as_json_file
from bench.table import aligned, number
from torch._C._distributed_c10d import TCPStore

from torch_testing_shim._engine.joined.bounded_store import StoreKeys
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

#: The most seconds that one test may take, and for how many ranks.
TARGET_SECONDS, TARGET_RANKS = 1.0, 128


class Empty(DTensorTestBase):
    """Its tests are made by `_add_tests`."""

    world_size = 0


@dataclass(frozen=True)
class Measured:
    """One run."""

    ranks: int  # how many there were
    passed: bool  # every process and every test has
    seconds: float  # of one test, the median
    most: float  # of the slowest one
    #: That the ranks of one test together ask and tell the store, the mean.
    calls: float
    characters: float
    processor_seconds: float  # that each rank of one test takes, the mean; like calls, without the first test


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    found = []
    for ranks in options.ranks:
        found.append(measure(ranks, options.tests))
        print(f"{ranks} ranks: {found[-1].seconds:.3f} s a test", file=sys.stderr)
    print(table(found))
    print(target_line(found))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return 0 if all(one.passed for one in found) else 1


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--ranks", nargs="+", type=as_count, default=[4, 16, 64, 128], metavar="N", help="numbers of ranks"
    )
    parser.add_argument("--tests", type=as_count, default=20, help="tests of each run (default 20)")
    parser.add_argument("--json", type=as_json_file, metavar="PATH", help="write all numbers there")
    return parser.parse_args(arguments)


def measure(ranks: int, tests: int) -> Measured:
    """Run that many empty tests on that many ranks."""
    os.environ["RES_OPTIONS"] = "attempts:0"  # the store's server would look up the name of each rank, and wait for it
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory(prefix="bench-ranks-") as name:
        folder = Path(name)
        pids = [_start(rank, ranks, tests, store.port, folder) for rank in range(ranks)]
        codes = _ends(pids)
        entries = read_journal(folder / "journal").entries
        if any(codes):
            told = {(folder / f"output.{rank}").read_text()[-1000:] for rank, code in enumerate(codes) if code}
            print(*sorted(told), sep="\n", file=sys.stderr)
        asked = [json.loads(path.read_text()) for path in folder.glob("asked.*")]
    ends = [entry.started_at + entry.seconds for entry in entries]
    each = [after - before for before, after in pairwise(ends)]  # the first one starts cold
    passed = codes == [0] * ranks and len(entries) == tests + 1 and all(entry.status.is_pass for entry in entries)
    calls, characters, processor = (sum(one[part] for one in asked) / tests for part in range(3))
    seconds = statistics.median(each or [0.0]), max(each, default=0.0)
    return Measured(ranks, passed, *seconds, calls, characters, processor / ranks)


def _ends(pids: Sequence[int]) -> list[int]:
    """Wait for the processes, and return their exit codes. As torchrun does, end all once one has failed."""
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        pid, status = os.wait()
        codes[pid] = os.waitstatus_to_exitcode(status)
        for other in set(pids).difference(codes) if codes[pid] else ():
            os.kill(other, signal.SIGTERM)
    return [codes[pid] for pid in pids]


def _start(rank: int, ranks: int, tests: int, port: int, folder: Path) -> int:
    """Fork a rank and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        output = os.open(folder / f"output.{rank}", os.O_WRONLY | os.O_CREAT)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        (folder / f"tmp{rank}").mkdir()
        os.environ.update(_variables(rank, ranks, port, folder))
        asked = _Asked()
        _add_tests(ranks, tests, asked.begin)
        try:
            run_tests([sys.argv[0], "Empty"])
        except SystemExit as end:
            code = int(end.code or 0)
        (folder / f"asked.{rank}").write_text(json.dumps(asked.since_begin))
    finally:
        os._exit(code)


def _variables(rank: int, ranks: int, port: int, folder: Path) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "bench",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCH_TESTING_SHIM_DEVICE": "cpu",
        "TORCH_TESTING_SHIM_JOURNAL": str(folder / "journal"),
        "TMPDIR": str(folder / f"tmp{rank}"),
        "OMP_NUM_THREADS": "1",
    }


def _add_tests(ranks: int, tests: int, begin: Callable[[], None]) -> None:
    """Add empty tests, and one before them that begins to count, since the first test starts cold."""
    Empty.world_size = ranks
    for each in range(tests + 1):

        def test(self: DTensorTestBase, *, is_first: bool = each == 0) -> None:
            if is_first:
                begin()

        setattr(Empty, f"test_{each}", test)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Asked:
    """Counts calls of the store in this process, the characters that they carry, and its processor time."""

    def __init__(self) -> None:
        self._counts = [0, 0]
        self._before = [0.0, 0.0, 0.0]
        for name in ("set", "has", "get", "add", "settle"):
            self._count(name)

    def _count(self, name: str) -> None:
        method = getattr(StoreKeys, name)

        def counting(keys: StoreKeys, *words: Any, **options: Any) -> Any:
            found = method(keys, *words, **options)
            self._counts[0] += 1
            self._counts[1] += len(str(words)) + len(str(found))
            return found

        setattr(StoreKeys, name, counting)

    def begin(self) -> None:
        self._before = self._now

    @property
    def since_begin(self) -> list[float]:
        return [now - before for now, before in zip(self._now, self._before, strict=True)]

    @property
    def _now(self) -> list[float]:
        return [*self._counts, _processor_seconds()]


def table(found: Sequence[Measured]) -> str:
    rows = [
        [
            "ranks",
            "s a test",
            "slowest",
            "calls of the store a test",
            "each rank",
            "kB a test",
            "processor ms each rank",
        ]
    ]
    for one in found:
        calls = [f"{one.calls:.0f}", f"{one.calls / one.ranks:.1f}", f"{one.characters / 1e3:.0f}"]
        calls.append(f"{1e3 * one.processor_seconds:.1f}")
        rows.append([str(one.ranks), number(one.seconds), number(one.most) if one.passed else "FAILED", *calls])
    return aligned(rows)


def target_line(found: Sequence[Measured]) -> str:
    seconds = next((one.seconds for one in found if one.ranks == TARGET_RANKS), None)
    verdict = "not measured" if seconds is None else "met" if seconds < TARGET_SECONDS else "MISSED"
    return f"one test on {TARGET_RANKS} ranks: {number(seconds)} s (below {TARGET_SECONDS:g} s): {verdict}"


if __name__ == "__main__":
    sys.exit(main())
