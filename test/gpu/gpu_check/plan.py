"""All checks, in the order in which they run: what is cheap and what all else rests on comes first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from gpu_check.expected import Expected
from gpu_check.figures import FiguresCheck
from gpu_check.leases import LeaseCheck
from gpu_check.machine import Machine
from gpu_check.row import Row
from gpu_check.sample_run import ROOT, SAMPLES
from gpu_check.samples import Said, SampleCheck
from gpu_check.suite import SuiteCheck
from torch_testing_shim._shared.journal import TestStatus

PASSED, FAILED, ERROR, SKIPPED = TestStatus.PASSED, TestStatus.FAILED, TestStatus.ERROR, TestStatus.SKIPPED

#: How long a test of the faults may take until its deadline, in seconds.
_DEADLINE = 20
#: The harness ends a test two seconds after its deadline; the device may take a while to give up a kernel.
_PAST_DEADLINE = _DEADLINE + 10.0


class Check(Protocol):
    """Something that gives rows."""

    @property
    def name(self) -> str: ...

    def rows(self, machine: Machine) -> list[Row]: ...


def checks_of(machine: Machine) -> list[Check]:
    """The checks of this machine."""
    return [
        *_one_rank(),
        _ported(machine, shared=False),
        _threads(),
        _faults(),
        *_shared(machine),
        LeaseCheck(),
        FiguresCheck(),
        SuiteCheck(),
    ]


def _outcomes(how: str) -> tuple[Expected, ...]:
    """The outcomes that the tests of `one_rank.py` have to have, however their rank is started."""
    return (
        Expected("OneRank.test_collectives", f"one rank, {how}: its own backend"),
        Expected("OneRank.test_fails", f"one rank, {how}: fails", (FAILED,), "^rank 0 failed: AssertionError"),
        Expected("OneRank.test_skips", f"one rank, {how}: skips", (SKIPPED,), "^not today$"),
        Expected("OneRank.test_dies", f"one rank, {how}: dies", (ERROR,), "^rank 0 .*exit code 3"),
    )


def _one_rank() -> Iterable[Check]:
    script = str(SAMPLES / "one_rank.py")
    spawned = "ranks are spawned, not forked"
    forks = Said("how ranks start", spawned, False, "spawned", "forked")
    spawns = Said("how ranks start where the file used the device", spawned, True, "spawned", "forked")
    used = Expected("ATestProcess.test_uses_the_device", "a test of the test process uses the device")
    yield SampleCheck("one-rank", (script, "OneRank"), _outcomes("forked"), (forks,))
    yield SampleCheck("after-test", (script,), (used, *_outcomes("after a test that used it")))
    first = {"GPU_CHECK_USES_FIRST": "1"}
    yield SampleCheck("after-import", (script, "OneRank"), _outcomes("spawned"), (spawns,), first)


def _ported(machine: Machine, *, shared: bool) -> Check:
    path = ROOT / "test" / "distributed" / "checkpoint" / "test_fsdp_optim_state.py"
    how = "four ranks that share" if shared else "one rank"
    tests = tuple(
        Expected(
            f"FsdpOptimStateCheckpoint.test_load_sharded_optimizer_state_dict_pass_planner_{with_planner}",
            f"the ported test, {how}, planner: {with_planner}",
            note=_mark(machine) if shared else "",
        )
        for with_planner in (True, False)
    )
    if shared:
        return SampleCheck("shared-ported", (str(path),), tests, variables=_SHARING)
    return SampleCheck("ported", (str(path),), tests, variables={"WORLD_SIZE": "1"})


def _threads() -> Check:
    tests = (
        Expected("Threads.test_collectives", "four threads: collectives"),
        Expected("Threads.test_one_fails", "four threads: one fails", (FAILED,), "^rank 2 failed: AssertionError"),
    )
    return SampleCheck("threads", (str(SAMPLES / "thread_ranks.py"),), tests)


_SHARING = {"TORCH_TESTING_SHIM_SHARE_DEVICES": "1"}


def _mark(machine: Machine) -> str:
    """The mark of a result whose four ranks shared devices."""
    return f"shared: 4 ranks on {machine.count} {machine.device}" if machine.count < 4 else ""


def _shared(machine: Machine) -> Iterable[Check]:
    by_test = {
        "collectives": "four ranks that share: collectives",
        "ddp": "four ranks that share: DDP",
        "fsdp": "four ranks that share: fully_shard",
    }
    tests = tuple(Expected(f"Shared.test_{test}", what, note=_mark(machine)) for test, what in by_test.items())
    transfers = Expected(
        "Shared.test_send_and_recv",
        "four ranks that share: send, recv",
        (PASSED, ERROR),
        "^$|^ranks? .* errored: .*(send|recv)",
        _mark(machine),
    )
    script = str(SAMPLES / "shared_ranks.py")
    yield SampleCheck("shared", (script,), (*tests, transfers), variables=_SHARING)
    yield _ported(machine, shared=True)


def _faults() -> Check:
    faults = (
        Expected("assert", "an index out of range on the device", (ERROR,), "^rank 1 errored: "),
        Expected("endless_kernel", "a kernel that never ends", (ERROR,), r"\b1\b", within=_PAST_DEADLINE),
        Expected("illegal_address", "an illegal address", (ERROR,), "^rank 1 .*(?i:illegal|SIGSEGV|SIGBUS)"),
        Expected("killed", "SIGKILL while memory is held", (ERROR,), "^rank 1 .*SIGKILL"),
        Expected("too_much", "out of memory", (ERROR,), "^rank 1 errored: .*(?i:memory|allocat)"),
    )
    tests = [Expected("Faults.test_0_memory", "memory before faults")]
    for fault in faults:
        tests.append(replace(fault, test=f"Faults.test_{fault.test}"))
        tests.append(Expected(f"Faults.test_{fault.test}_then_memory", "    memory given back"))
    tests.append(Expected("Faults.test_z_in_order", "a test after all faults"))
    variables = {"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(_DEADLINE)}
    return SampleCheck("faults", (str(SAMPLES / "device_faults.py"),), tuple(tests), variables=variables)
