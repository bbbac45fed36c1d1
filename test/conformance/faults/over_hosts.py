"""Runs faults on four ranks over two hosts, by torchrun on each.

Many faults share a run: the first that ends its ranks ends the run, and those after it run in another.

    run_over_hosts ==tests==> [ host1: forking_torchrun > ranks 0, 1 ]  journal, ends of processes ==> Observation
                              [ host2: forking_torchrun > ranks 2, 3 ]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "shim"))

from hosts import Hosts
from warm_samples import SampleServer, WarmSample

from faults.fault import Ending, Fault
from faults.faulty import FAULT_TIMES, RANKS_VARIABLE, strikes
from faults.forking_torchrun import OUTPUT, PIDS
from faults.observe import Observation
from faults.roles import HOSTS, PARTS, in_catalogue_ranks
from faults.surroundings import MARK, kill_marked, marked_processes
from torch_testing_shim._runner.process.command import MARK_VARIABLE
from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim._shared.owned_folders import remove_stale

_FAULTS = Path(__file__).parent
_PATH = os.pathsep.join([str(_FAULTS.parent), str(_FAULTS.parents[2])])
#: Deadline of a test that hangs, in seconds, and of the others, which do not come near it.
_HANG_SECONDS, _DEADLINE_SECONDS = 5.0, 30.0
#: How long after the fault, or after the deadline of a hang, a verdict may come, and the end of the ranks with it.
LIMIT_OVER_HOSTS = 5.0
#: A run that takes longer is given up, in seconds: torchrun waits 30 s for a worker that does not end when asked to.
_PATIENCE_SECONDS = 150.0
#: How long torchrun may stay after the last rank has ended, in seconds, before it is ended.
_AGENT_SECONDS = 10.0
#: How many runs there are at once: those that hang use no processor time.
_AT_ONCE = 3
#: How long processes may take to be gone when torchrun has ended, in seconds.
_GONE_SECONDS = 2.0
#: Files that torch keeps, and torchrun.
_OTHERS = ("torchinductor_", "torchelastic_")
_TAIL_CHARACTERS = 3000
#: The variables that mark the forks of the sample server, and the programs that these start.
_MARKS = (MARK_VARIABLE, MARK)
_SAMPLE = """
from torch_testing_shim.common_utils import run_tests
from faults.cases.{theme} import *

if __name__ == "__main__":
    run_tests()
"""


@dataclass
class _Run:
    """The result of one run."""

    entries: list[JournalEntry] = field(default_factory=list)  # of the journal
    unfinished: str = ""  # the test that had begun and not ended, of which nobody told; empty where there is none
    #: When the process of each rank had ended, on the monotonic clock.
    ends: dict[int, float] = field(default_factory=dict)
    exit_codes: list[int | None] = field(default_factory=list)  # of torchrun, by host
    outputs: list[str] = field(default_factory=list)  # by host
    strikes: list[float] = field(default_factory=list)  # when faults happened
    left: list[str] = field(default_factory=list)  # what was there when all had ended


def deadline_over_hosts(fault: Fault) -> float:
    """Seconds that the fault's test may take."""
    return _HANG_SECONDS if fault.expected.is_hang else _DEADLINE_SECONDS


def run_over_hosts(faults: Sequence[Fault]) -> dict[str, Observation]:
    """Runs the faults and returns what became of them, by test, in the catalogue's ranks."""
    server = SampleServer({**os.environ, "PYTHONPATH": _PATH})
    try:
        return _run_shares(server, faults)
    finally:
        server.close()


def _run_shares(server: SampleServer, faults: Sequence[Fault]) -> dict[str, Observation]:
    shares = [[fault] for fault in faults if fault.expected.is_hang]  # each ends its run
    others = [fault for fault in faults if not fault.expected.is_hang]
    shares += [list(share) for _, share in groupby(others, key=lambda fault: fault.theme)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda share: _run_share(server, share), shares)
        return {one.test: one for observations in found for one in observations}


def _run_share(server: SampleServer, faults: list[Fault]) -> Iterable[Observation]:
    observations: list[Observation] = []
    while faults:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, Hosts(2) as hosts:
            run = _run(server, hosts, Path(folder), faults)
        found = _observed(run, faults)
        observations += found
        faults = [fault for fault in faults if fault.test not in {one.test for one in observations}]
    return observations


def _run(server: SampleServer, hosts: Hosts, folder: Path, faults: Sequence[Fault]) -> _Run:
    for name in ("tmp", "times", "work", "pids"):
        (folder / name).mkdir()
    sample = folder / "work" / "sample.py"
    sample.write_text(_SAMPLE.format(theme=faults[0].theme))
    mark = uuid.uuid4().hex
    agents = [
        server.start(
            [str(_FAULTS / "forking_torchrun.py"), *_torchrun(hosts, number), str(sample), "-v"]
            + [fault.test for fault in faults],
            folder / "work",
            _environment(folder, faults[0])
            | hosts.environment(number)
            | {OUTPUT: str(folder / f"output{number}"), MARK: mark},
            mark,
        )
        for number in range(len(hosts))
    ]
    run = _Run()
    try:
        _wait(agents, folder / "pids", run)
        run.exit_codes = [agent.poll() for agent in agents]
        run.left = _left(mark, folder / "tmp", [agent.pid for agent in agents])
    finally:
        for variable in _MARKS:
            kill_marked(mark, variable=variable)
    for number, agent in enumerate(agents):
        path = folder / f"output{number}"
        early = agent.communicate(timeout=_GONE_SECONDS)[0]  # of the agent, before it has opened its file
        run.outputs.append(early + (path.read_text(errors="replace") if path.exists() else ""))
    journal = read_journal(folder / "journal")
    run.entries, run.unfinished = list(journal.entries), next(iter(journal.unfinished), "")
    run.strikes = [seconds for seconds, _ in strikes(folder / "times")]
    return run


def _torchrun(hosts: Hosts, number: int) -> list[str]:
    words = ["--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d", f"--rdzv-endpoint={hosts.address(0)}:29511"]
    return [*words, "--rdzv-id=x", f"--rdzv-conf=is_host={number == 0}", f"--local-addr={hosts.address(number)}"]


def _environment(folder: Path, fault: Fault) -> dict[str, str]:
    ours = ("TORCH_TESTING_SHIM_", "DISTRIBUTED_TESTS_", "PYTORCH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PYTHONPATH": _PATH,
        "TMPDIR": str(folder / "tmp"),
        "TORCH_TESTING_SHIM_JOURNAL": str(folder / "journal"),
        "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(deadline_over_hosts(fault)),
        "OMP_NUM_THREADS": "1",
        RANKS_VARIABLE: str(len(HOSTS)),
        FAULT_TIMES: str(folder / "times"),
        PIDS: str(folder / "pids"),
    }


def _wait(agents: Sequence[WarmSample], pids: Path, run: _Run) -> None:
    """Waits until torchrun has ended on both hosts, and notes when each rank's process does."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up and any(agent.poll() is None for agent in agents):
        if len(run.ends) == len(HOSTS):  # a torchrun that is cut off waits for its store
            give_up = min(give_up, max(run.ends.values()) + _AGENT_SECONDS)
        time.sleep(0.02)
        for path in pids.iterdir():
            rank, pid = int(path.name), path.read_text()
            if pid and rank not in run.ends and _has_ended(int(pid)):
                run.ends[rank] = time.monotonic()


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _left(mark: str, temporary: Path, agents: Sequence[int]) -> list[str]:
    """What is left. A rank that is stopped outlives the others by torchrun's 30 s, and leaves its folder to whoever
    comes next on its host."""
    give_up = time.monotonic() + _GONE_SECONDS
    while (found := _processes_of(mark, agents)) and time.monotonic() < give_up:
        time.sleep(0.05)
    remove_stale(str(temporary))
    files = [path.name for path in temporary.iterdir() if not path.name.startswith(_OTHERS)]
    return [*(f"process {pid}" for pid in found), *(f"file {name}" for name in files)]


def _processes_of(mark: str, but: Sequence[int]) -> list[int]:
    return sorted({pid for variable in _MARKS for pid in marked_processes(mark, but, variable)})


def _observed(run: _Run, faults: Sequence[Fault]) -> list[Observation]:
    """The results of the faults whose tests have ended; the first's, at least."""
    told = _told_elsewhere(run.outputs[1])
    tail = "\n".join(output[-_TAIL_CHARACTERS:] for output in run.outputs)
    by_test = {entry.test: entry for entry in run.entries}
    reached = [by_test[fault.test] for fault in faults if fault.test in by_test]
    nothing = f"torchrun ended with {run.exit_codes}:\n{tail}"
    if not reached:
        return [Observation(run.unfinished or faults[0].test, Ending.NONE, nothing)]
    has_ended_early = len(reached) < len(faults) or "could not go on" in tail
    found = [_observation(entry, run) for entry in reached]
    last = max(found, key=lambda one: one.started)
    living = [ended for rank, ended in run.ends.items() if PARTS[rank] != 1]
    ended = max([last.ended, *living]) if has_ended_early else last.ended
    report = f"{last.report}\n\n{told}" if told else last.report
    told_last = replace(last, report=report, ended=ended, left=tuple(run.left))
    if any(one.ending.is_bad for one in found) and 0 in run.exit_codes:
        told_last = replace(told_last, ending=Ending.NONE, report=nothing)
    return [told_last if one is last else one for one in found]


def _told_elsewhere(output: str) -> str:
    """What the second host tells of the test that ended the run; empty where it is silent, as it has to be where it has
    a connection with the first."""
    found = re.search(r"^ERROR: \S+\n-+\n(.*)", output, re.MULTILINE)
    return f"host2 tells: {in_catalogue_ranks(found[1])}" if found else ""


def _observation(entry: JournalEntry, run: _Run) -> Observation:
    clock = time.time() - time.monotonic()
    started = entry.started_at - clock
    ended = started + entry.seconds
    struck = min((at for at in run.strikes if started - 0.1 <= at <= ended + 0.1), default=None)
    detail = entry.detail[entry.detail.find(entry.reason) :] if entry.reason in entry.detail else entry.reason
    return Observation(entry.test, Ending(entry.status.value), in_catalogue_ranks(detail), started, struck, ended)
