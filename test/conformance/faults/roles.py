"""What is told of ranks on several hosts, in the words of the catalogue, whose three ranks are on one: pure.

Ranks 0 and 1 are on the first host and take the part of the catalogue's rank 0; ranks 2 and 3 are on the second, and
rank 3 is the guilty one, the catalogue's rank 1.
"""

from __future__ import annotations

import re
from dataclasses import replace

from faults.cases import NETWORK
from faults.fault import Fault
from torch_testing_shim._engine.outcome import ranks_text

#: The host of each rank, and the part that it takes.
HOSTS = ("host1", "host1", "host2", "host2")
PARTS = (0, 0, 2, 1)
#: The themes that have a meaning there: a launcher's ranks keep what a test leaves of children and of process state.
THEMES_OF_HOSTS = (
    *("deaths", "exceptions", "bodies", "collectives", "skips", "hangs", "deadlocks", "set_up", "limits"),
    NETWORK,
)
_RANKS = r"\branks? (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)(?: \((host\d+)\))?"
_SOME_RANKS = re.compile(rf"{_RANKS}(?:, {_RANKS})*")
#: How a process ended is not known where torchrun was faster to read it.
_DIED = re.compile(r"died: (killed by SIG\w+|exit code \d+)")
#: A rank that no Python runs in any more cannot say that it hangs.
_CANNOT_TELL = ("test_native_code_with_the_lock", "test_stops_itself")
#: Why some faults are no faults there, or nobody can tell of them; by method, or by class and method.
_NOT_HERE = {
    "test_all_ranks_crash": "all ranks die at once: torchrun alone tells it",
    "test_other_shape_to_gather": "all ranks die at once: torchrun alone tells it",
    "test_different_root": "a broadcast of gloo's over four ranks ends, also where one names another root",
    "test_kills_its_parent": "its parent is torchrun",
    "test_leaves_its_process_group": "torchrun's workers lead a session, and cannot leave their group",
    "Resists.test_becomes_another_program": "an agent that forks takes such a worker for ended, and waits for it",
    "test_left_out_by_its_class": "a class that judges exit codes by itself is skipped",
    "test_hang_that_its_class_accepts": "a class that judges exit codes by itself is skipped",
}
#: What is told of a deadlock, which nobody is certain of: the time of the test is up, or that of its process group.
_AT_DEADLINE = "rank [01] entered .* as collective|.*still ran at the deadline|rank 0 errored: DistStoreError"
#: gloo, with four ranks, may not notice that they bring other data until its time is up.
_PARTED = re.compile(r"rank 1 entered .*?, ranks 0, 2 entered .*?; ")


def in_catalogue_ranks(report: str) -> str:
    """Returns a report whose ranks are the catalogue's. Its first line has to name hosts: ranks without them, or on
    another host, stay as they are, so that nothing fits."""
    first, newline, rest = report.partition("\n")
    return _translated(first, needs_host=True) + newline + _translated(rest, needs_host=False)


def _translated(text: str, *, needs_host: bool) -> str:
    def translate(found: re.Match[str]) -> str:
        named = [(rank, host) for ranks, host in re.findall(_RANKS, found[0]) for rank in _members(ranks)]
        may_be = {rank: {host} if needs_host else {host, ""} for rank, host in enumerate(HOSTS)}
        is_right = all(host in may_be.get(rank, ()) for rank, host in named)
        return ranks_text([PARTS[rank] for rank, _ in named]) if is_right else found[0]

    return _SOME_RANKS.sub(translate, text)


def _members(ranks: str) -> list[int]:
    ends = [[int(end) for end in run.split("-")] for run in ranks.split(", ")]
    return [rank for first, *last in ends for rank in range(first, (last or [first])[0] + 1)]


def expected_of_hosts(fault: Fault) -> Fault:
    """Returns the fault with what has to be made of it over hosts. A deadlock is told at the deadline."""
    expected, method = fault.expected, fault.test.rpartition(".")[2]
    if why_not := _NOT_HERE.get(method) or _NOT_HERE.get(fault.test):
        return replace(fault, expected=replace(expected, needs=lambda: why_not))
    if expected.small_disk:
        return replace(fault, expected=replace(expected, needs=lambda: "no small disk is mounted over hosts"))
    cause, *told = (_DIED.sub(r"died: (\1|an unknown exit status)", text) for text in (expected.cause, *expected.told))
    told = [text for text in told if "then died" not in text]  # nor whether one that had raised has crashed
    if expected.is_deadlock:
        return replace(fault, expected=replace(expected, cause=_AT_DEADLINE, is_hang=True))
    if not cause.startswith(("rank", "nothing")):
        cause = rf"(\w+: )?{cause}"  # a journal names the type of what the test process raises
    if parted := _PARTED.match(cause):
        return replace(fault, expected=replace(expected, cause=parted[0], told=(), is_hang=True))
    if expected.is_hang and method in _CANNOT_TELL:
        cause = "nothing was heard from rank 1, says ranks 0, 2$"
    return replace(fault, expected=replace(expected, cause=cause, told=tuple(told)))
