"""Recognises a deadlock before the deadline, where it is certain.

Certain means that nothing but the test's ranks could let one of them go on, and that each living rank waits for
another. So for every living rank all of this has to hold:

* it used next to no CPU time since a look at least the stall time ago, and entered no collective since;
* each of its Python threads waits in a collective of `torch.distributed` (send and recv included) or in the `wait` of
  its work, not in the test's own code, a sleep, or a process group's start, where the system may be slow;
* or it waits in C++, as in a backward pass, and a collective is open that another rank has not entered, or not alike;
* nothing that it waits for has a time-out that a test could be waiting for;
* it has no child process;
* all its threads sleep, those of C++ included, and it all is so once more a moment later: a rank may be asked on its
  way into a collective, after it has left Python and before the collective is recorded.

The one exception: a rank whose peers have all ended may stand in a process group's start, for nobody can come.
Everything else waits for the deadline: a slow test that is called deadlocked would be a wrong verdict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from torch_testing_shim._engine.collectives import Parting, partings, read_log
from torch_testing_shim._engine.flight_recorder import collectives_in
from torch_testing_shim._engine.leftovers import all_stats, stat_fields
from torch_testing_shim._engine.running_ranks import RunningRanks
from torch_testing_shim._engine.self_report import SelfReport, ask, read_reports
from torch_testing_shim._engine.waits import Wait

#: Looks per stall time. A look reads one line of /proc per rank; a test that ends before the first pays nothing.
_LOOKS = 4
#: A waiting rank uses at most this share of a core: it polls a store, or answers when it is asked.
_IDLE_SHARE = 0.02
#: No test waits for a time-out of more than this share of its own time; the harness's own groups have 0.9 of it.
_WAITABLE_SHARE = 0.8
#: How long after a deadlock is seen it is looked at again before it is reported, in seconds.
_SECOND_LOOK_SECONDS = 0.25
#: How often a process is looked at until all its threads sleep, and the seconds between two looks.
_TRIES, _TRY_SECONDS = 5, 0.01
#: How long ranks may take to answer, in seconds.
_ANSWER_SECONDS = 0.5


class StallWatch:
    """Looks at running ranks from time to time, and tells when they are certainly deadlocked."""

    def __init__(self, ranks: RunningRanks, stall_seconds: float, allowance: float) -> None:
        """Look at started ranks that may take `allowance` seconds, once they have stood still for `stall_seconds`; 0
        for never."""
        self._ranks = ranks
        self._stall_seconds = stall_seconds
        self._allowance = allowance
        self._looks: list[tuple[float, dict[int, float]]] = []  # when, and CPU seconds by rank
        self._seen: dict[int, object] = {}  # where ranks stood that were deadlocked at the last look
        self.next_look = time.monotonic() + stall_seconds / _LOOKS if stall_seconds else float("inf")

    def sees_deadlock(self, living: Iterable[int]) -> bool:
        """Look if it is time to. Return whether all living ranks are certainly deadlocked."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        before, self._seen = self._seen, self._look(now, living)
        wait = self._stall_seconds / _LOOKS
        self.next_look = now + (min(wait, _SECOND_LOOK_SECONDS) if self._seen else wait)
        return bool(self._seen) and self._seen == before

    def _look(self, now: float, living: Iterable[int]) -> dict[int, object]:
        """Return where all living ranks stand if they seem to be deadlocked; else nothing."""
        used = {rank: _cpu_seconds(self._ranks.pids[rank]) for rank in living}
        self._looks.append((now, used))
        past = [look for look in self._looks if look[0] <= now - self._stall_seconds]
        self._looks = past[-1:] + [look for look in self._looks if look[0] > now - self._stall_seconds]
        if not past or not _is_idle(past[-1][1], used, now - past[-1][0]):
            return {}
        pids = [self._ranks.pids[rank] for rank in used]
        if _has_children(pids):
            return {}
        folder = self._ranks.jobs[0].folder
        ask(folder, used)
        reports = read_reports(folder, used, _ANSWER_SECONDS)
        parted = partings({job.rank: read_log(folder.collectives(job.rank)) for job in self._ranks.jobs})
        if not is_deadlocked(reports, used, len(self._ranks.jobs), parted, self._stall_seconds, self._allowance):
            return {}
        return {rank: standing(report) for rank, report in reports.items()} if all(map(_sleeps, pids)) else {}


def standing(report: SelfReport) -> object:
    """Return the parts of a rank's report that stay the same while it does not go on."""
    return report.threads, collectives_in(report.flight)


def is_deadlocked(
    reports: Mapping[int, SelfReport],
    living: Iterable[int],
    world_size: int,
    parted: Sequence[Parting],
    stall_seconds: float,
    allowance: float,
) -> bool:
    """Return whether ranks that use no CPU time are certainly deadlocked.

    Args:
        reports: the living ranks' reports, by rank; where one is missing, everything is uncertain.
        living: the ranks that have not ended.
        world_size: number of ranks of the test.
        parted: where the ranks parted, by their logs.
        stall_seconds: how long no collective has begun.
        allowance: seconds that the test may take.
    """
    ranks = list(living)
    if not ranks or any(rank not in reports for rank in ranks):
        return False
    is_alone = len(ranks) == 1 < world_size
    waitable = _WAITABLE_SHARE * allowance
    return all(
        _is_quiet(reports[rank], stall_seconds, waitable)
        and _waits(reports[rank], {parting.title for parting in parted if rank in parting.entered}, is_alone)
        for rank in ranks
    )


def _is_quiet(report: SelfReport, stall_seconds: float, waitable: float) -> bool:
    """Whether a rank has entered no collective for long enough, and waits for no time-out that its test could be
    waiting for."""
    collectives = collectives_in(report.flight)
    timeouts = [*report.timeouts, *(c.timeout_seconds for c in collectives if not c.is_done)]
    newest = max((collective.created_ns for collective in collectives), default=0)
    return report.at_ns - newest >= stall_seconds * 1e9 and bool(timeouts) and min(timeouts) >= waitable


def _waits(report: SelfReport, unmatched: Collection[str], is_alone: bool) -> bool:
    """Whether all threads of a rank wait for other ranks. `unmatched` are the groups with a collective that this rank
    has entered and another has not, or has differently; `is_alone` says that all other ranks have ended."""
    allowed = {Wait.COLLECTIVE}
    if is_alone and all(size > 1 for size in report.world_sizes):
        allowed.add(Wait.START)  # nobody can come
    is_in_unmatched = any(not c.is_done and c.group in unmatched for c in collectives_in(report.flight))
    if is_in_unmatched or Wait.COLLECTIVE in report.waits:
        allowed.add(Wait.NATIVE)
    return bool(report.waits) and allowed.issuperset(report.waits)


def _is_idle(before: Mapping[int, float], after: Mapping[int, float], seconds: float) -> bool:
    return all(used - before.get(rank, 0.0) <= _IDLE_SHARE * seconds for rank, used in after.items())


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used; infinite where the system does not tell."""
    fields = stat_fields(pid)
    if not fields:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sleeps(pid: int) -> bool:
    """Whether all threads of a process sleep. A thread that waits for a disk or a free core does not sleep; nor, for a
    moment, does the one that has just answered."""
    for _ in range(_TRIES):
        states = [stat_fields(f"{pid}/task/{thread.name}")[:1] for thread in Path(f"/proc/{pid}/task").glob("*")]
        if states and all(state == [b"S"] for state in states):
            return True
        time.sleep(_TRY_SECONDS)
    return False


def _has_children(pids: Iterable[int]) -> bool:
    """Whether a rank has started a process, which may let the rank go on or end it."""
    parents = set(pids)
    others = (fields for pid, fields in all_stats() if pid not in parents)
    return any(parents & {int(fields[1]), int(fields[2])} for fields in others)  # its parent, its process group
