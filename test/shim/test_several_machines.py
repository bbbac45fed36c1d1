"""Tests whose ranks are on two or three hosts, which are network namespaces: torchrun itself, faults between hosts."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Callable, Sequence
from pathlib import Path

from harness_samples import ROOT, RUN_TIMEOUT, SampleTestCase
from hosts import ENTER, LOSSY, NARROW, Hosts, reason_not_to_make
from joined_samples import AGENT, JoinedSample, JoinedSampleTestCase, Started

from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import run_tests

#: Seconds that a test of a sample may take, and what a verdict may take after that.
SECONDS, LATE = 4.0, 5.0

LOOP = (
    ENTER
    + """
class Loop(DTensorTestBase):
    world_size = 4

    @with_comms
    def test_loop(self):
        while True:
            dist.all_reduce(torch.ones(4))
            open("started", "w").close()
            time.sleep(0.05)

    @with_comms
    def test_then(self):
        pass
"""
)
TINY = (
    ENTER
    + """
class Tiny(DTensorTestBase):
    world_size = 4

    @with_comms
    @parametrize("number", range(5))
    def test_all_reduce(self, number):
        tensor = torch.full((1000,), float(self.rank))
        dist.all_reduce(tensor)
        self.assertEqual(torch.full((1000,), 6.0), tensor)

    @with_comms
    def test_raises(self):
        if self.rank == 3:
            raise ValueError("on another host")
        dist.barrier()

    @with_comms
    @with_temp_dir
    def test_shares_a_folder(self):
        pass

instantiate_parametrized_tests(Tiny)
"""
)
UNDER_TORCHRUN = """
class Zombie(DTensorTestBase):
    world_size = 3

    @with_comms
    def test_killed(self):
        if self.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    @with_comms
    def test_then(self):
        dist.barrier()

sys.path.insert(0, os.environ["PORTED"])
from test_fsdp_optim_state import FsdpOptimStateCheckpoint
"""

LINES = """
class Line(DTensorTestBase):
    world_size = 4

    @with_comms
    def test_all_reduce(self):
        tensor = torch.ones(1)
        dist.all_reduce(tensor)
        self.assertEqual(torch.full((1,), 4.0), tensor)
"""
#: Stands in for Slurm's, which has the nodes of the allocation.
SCONTROL = """
test "$*" = "show hostnames host[1-2]" && printf 'host1\\nhost2\\n'
"""
#: Stands in for Slurm's: one task on each of two nodes, with what Slurm tells a task by its environment.
SRUN = """
test "$1 $2 $3 $4" = "--nodes 2 --ntasks-per-node 1" || exit 64
shift 4
export SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_LOCALID=0
SLURM_PROCID=0 SLURM_NODEID=0 {} "$@" & first=$!
SLURM_PROCID=1 SLURM_NODEID=1 {} "$@" & second=$!
wait $first; one=$?
wait $second; other=$?
exit $((one > other ? one : other))
"""


#: The host of each rank.
ON_TWO, ON_THREE = (0, 0, 1, 1), (0, 0, 1, 2)


@unittest.skipIf(reason_not_to_make() is not None, str(reason_not_to_make()))
class SeveralMachinesTest(JoinedSampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(3)
        self.hosts.__enter__()
        self.addCleanup(self.hosts.__exit__, None, None, None)

    def run_on(
        self,
        hosts: Sequence[int],
        sample: Path,
        meanwhile: Callable[[Sequence[Started]], object] = lambda ranks: None,
    ) -> JoinedSample:
        return self.run_joined(
            [[sample, "-v"]] * len(hosts),
            address=self.hosts.address(0),
            own=lambda rank: self.hosts.environment(hosts[rank]),
            meanwhile=meanwhile,
            DISTRIBUTED_TESTS_DEFAULT_TIMEOUT=str(SECONDS),
        )

    def run_until(
        self, hosts: Sequence[int], fault: Callable[[Sequence[Started]], object]
    ) -> tuple[JoinedSample, float]:
        """Let a fault happen while all ranks meet again and again. Return the seconds from there to the end, too."""
        at: list[float] = []

        def wait_and_fault(ranks: Sequence[Started]) -> None:
            until = time.monotonic() + 60.0
            while not (self.folder / "started").exists() and time.monotonic() < until:
                time.sleep(0.02)
            at.append(time.monotonic())
            fault(ranks)

        found = self.run_on(hosts, self.write_sample(LOOP), wait_and_fault)
        return found, time.monotonic() - at[0]

    def test_tests_run_over_a_narrow_link(self) -> None:
        self.pass_over_slow_links(NARROW)

    def test_tests_run_over_a_lossy_link(self) -> None:
        self.pass_over_slow_links(LOSSY)

    def pass_over_slow_links(self, how: Sequence[str]) -> None:
        for number in range(3):
            if why_not := self.hosts.slow_down(number, how):
                self.skipTest(why_not)
        found = self.run_on(ON_THREE, self.write_sample(TINY))
        statuses = [entry.status.value for entry in found.entries.values()]
        self.assertEqual(["passed"] * 5 + ["error", "skipped"], statuses, found.outputs[0])
        self.assertRegex(
            found.entries["Tiny.test_raises"].reason, r"^rank 3 \(host3\) errored: ValueError: on another host"
        )
        self.assertIn("TORCH_TESTING_SHIM_SHARED_DIR", found.entries["Tiny.test_shares_a_folder"].reason)
        hosts = [record.host for record in found.entries["Tiny.test_all_reduce_number_0"].ranks]
        self.assertEqual(["host1", "host1", "host2", "host3"], hosts)
        self.assertEqual([1, 1, 1, 1], found.exit_codes)

    def test_a_cut_link_is_told_on_both_sides(self) -> None:
        found, seconds = self.run_until(ON_THREE, lambda ranks: self.hosts.cut(2))
        self.assertEqual([1, 1, 1, 1], found.exit_codes, found.outputs)
        self.assertIn(
            "nothing was heard from rank 3 (host3), says ranks 0, 1 (host1), rank 2 (host2)", found.outputs[0]
        )
        self.assertIn(
            "nothing was heard from ranks 0, 1 (host1), rank 2 (host2), says rank 3 (host3)", found.outputs[3]
        )
        self.assertNotIn("ERROR", found.outputs[1] + found.outputs[2])
        self.assertLess(seconds, SECONDS + LATE)
        self.assertRegex(found.entries["Loop.test_loop"].reason, "^nothing was heard from rank 3")

    def test_a_killed_host_is_told_by_the_other(self) -> None:
        for dead, alive, said in (
            ((2, 3), 0, "nothing was heard from ranks 2, 3 (host2), says ranks 0, 1 (host1)"),
            ((0, 1), 2, "nothing was heard from ranks 0, 1 (host1), says ranks 2, 3 (host2)"),  # it had the store
        ):
            (self.folder / "started").unlink(missing_ok=True)
            found, seconds = self.run_until(ON_TWO, lambda ranks, dead=dead: [ranks[rank].kill() for rank in dead])  # type: ignore[misc]
            self.assertIn(said, found.outputs[alive])
            self.assertEqual([-signal.SIGKILL if rank in dead else 1 for rank in range(4)], found.exit_codes)
            self.assertLess(seconds, LATE)


@unittest.skipIf(reason_not_to_make() is not None, str(reason_not_to_make()))
class LaunchLinesTest(SampleTestCase):
    """The lines of `docs/several-machines.md` for Slurm and Kubernetes, as they stand there. Slurm's programs, pods and
    their name server are stand-ins on two hosts. torchrun is torch's own; in the second line its workers are forks."""

    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(2)
        self.hosts.__enter__()
        self.addCleanup(self.hosts.__exit__, None, None, None)
        self.page = (ROOT / "docs" / "several-machines.md").read_text()
        self.known = self.folder / "hosts"

    def write_program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)

    def on_host(self, number: int, name: str, words: Sequence[str] = ()) -> list[str]:
        return self.hosts.command(number, words, name, self.known)

    def run_all(self, commands: Sequence[Sequence[str]], **extra: str) -> tuple[list[int], list[str]]:
        """Run commands at once. Return their exit codes and outputs."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        started = [
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(PATH=path, **extra),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in commands
        ]
        outputs = [one.communicate(timeout=RUN_TIMEOUT)[0] for one in started]
        return [one.returncode for one in started], outputs

    def test_the_line_for_slurm_with_a_ported_test_and_a_restart(self) -> None:
        line = re.search(r"^srun(.*\\\n)*.*$", self.page, re.MULTILINE)
        assert line is not None, "the page has it"
        names = ("host1", "host2")
        self.known.write_text("127.0.0.1 localhost\n10.77.0.1 host1\n10.77.0.2 host2\n")
        self.write_sample(UNDER_TORCHRUN, "test_x.py")
        self.write_program("torchrun", f'exec {sys.executable} -m torch.distributed.run --max-restarts=1 "$@"\n')
        self.write_program("scontrol", SCONTROL)
        self.write_program("srun", SRUN.format(*(shlex.join(self.on_host(*each)) for each in enumerate(names))))
        (self.folder / "shared").mkdir()
        codes, (output,) = self.run_all(
            [["sh", "-c", line[0]]],
            SLURM_NODELIST="host[1-2]",
            SLURM_JOB_ID="7",
            PORTED=str(ROOT / "test" / "distributed" / "checkpoint"),
            TORCH_TESTING_SHIM_SHARED_DIR=str(self.folder / "shared"),
        )
        entries = {entry.test: entry for entry in read_journal(self.folder / "journal").entries}
        self.assertEqual([1], codes, output)
        ported = [entry for name, entry in entries.items() if name.startswith("FsdpOptimStateCheckpoint.")]
        self.assertEqual(["passed"] * 2, [entry.status.value for entry in ported], output)
        self.assertEqual(["host1", "host1", "host2", "host2"], [rank.host for rank in ported[0].ranks])
        self.assertEqual([], list((self.folder / "shared").iterdir()))
        self.assertRegex(entries["Zombie.test_killed"].reason, r"^rank 2 \(host2\) \(pid \d+\) died: ")
        self.assertEqual(1, output.count("ERROR: Zombie.test_killed"), output)
        self.assertEqual("passed", entries["Zombie.test_then"].status.value, output)  # after a restart
        self.assertIn("torchrun has restarted its processes; before that: 2 passed, 1 error", output)
        self.assertIn("in all: 3 passed, 1 error", output)

    def test_the_line_for_kubernetes(self) -> None:
        line = re.search(r"^command: \[(.*)\]$", self.page, re.MULTILINE)
        assert line is not None, "the page has it"
        names = ("tests-0", "tests-1")
        service = "10.77.0.{} {name}.tests.default.svc.cluster.local {name}.tests {name}\n"
        self.known.write_text("".join(service.format(number + 1, name=name) for number, name in enumerate(names)))
        self.write_sample(LINES, "test_x.py")
        self.write_program("torchrun", f'exec {sys.executable} {self.write_sample(AGENT, "agent.py")} "$@"\n')
        codes, outputs = self.run_all([self.on_host(*each, line[1].split(", ")) for each in enumerate(names)])
        self.assertEqual([0, 0], codes, outputs)
        (entry,) = read_journal(self.folder / "journal").entries
        self.assertEqual("passed", entry.status.value, outputs)
        self.assertEqual(["tests-0", "tests-0", "tests-1", "tests-1"], [rank.host for rank in entry.ranks])


if __name__ == "__main__":
    run_tests()
