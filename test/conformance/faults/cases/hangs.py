"""Rank 1 never comes to its end: the deadline ends the test, and the report says where it stands."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


def stands(in_function: str, others: str = "had ended") -> str:
    """Rank 1 stands there, and the others have ended, or stand elsewhere."""
    return rf"rank 1 still ran at the deadline, in {in_function} \(hangs\.py:\d+\); ranks 0, 2 {others}$"


WAITED = r"waited in barrier \(\w+\.py:\d+\)"


#: Where a rank cannot tell where it stands: the harness says at least which one it is.
SILENT = "rank 1 still ran at the deadline; ranks 0, 2 had ended$"


class Waits(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, stands("test_sleep"), "stacks of rank 1", hang=True)
    def test_sleep(self):
        """Sleeps."""
        if self.is_guilty:
            self.strike()
            time.sleep(FOREVER)

    @ends(Ending.ERROR, stands("test_lock"), hang=True)
    def test_lock(self):
        """Takes a lock twice."""
        if self.is_guilty:
            lock = threading.Lock()
            lock.acquire()
            self.strike()
            lock.acquire()

    @ends(Ending.ERROR, stands("test_joins_a_thread"), "Thread ", hang=True)
    def test_joins_a_thread(self):
        """Waits for a thread that never ends."""
        if self.is_guilty:
            thread = threading.Thread(target=time.sleep, args=(FOREVER,))
            thread.start()
            self.strike()
            thread.join()

    @ends(Ending.ERROR, stands("test_waits_for_a_program"), hang=True)
    def test_waits_for_a_program(self):
        """Waits for a program that never ends, and would raise if the program were killed."""
        if self.is_guilty:
            self.strike()
            subprocess.run(["sleep", str(FOREVER)], check=True)

    @ends(Ending.ERROR, stands("test_is_busy"), hang=True)
    def test_is_busy(self):
        """Computes without end."""
        if self.is_guilty:
            self.strike()
            while True:
                pass


class Native(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, stands("test_native_code"), hang=True)
    def test_native_code(self):
        """Waits in native code, which has let go of the interpreter's lock."""
        if self.is_guilty:
            self.strike()
            ctypes.CDLL(None).sleep(FOREVER)

    @ends(Ending.ERROR, stands("test_native_code_with_the_lock"), hang=True)
    def test_native_code_with_the_lock(self):
        """Waits in native code, which holds the interpreter's lock, so that no Python of the rank runs any more."""
        if self.is_guilty:
            self.strike()
            ctypes.PyDLL(None).sleep(FOREVER)


class Collectives(Faulty, DTensorTestBase):
    """In process groups whose own time-out is far, so that the others are waiting at the deadline."""

    def init_pg(self, *args, **kwargs):
        place = f"file://{self.file_name}"
        dist.init_process_group("gloo", init_method=place, rank=self.rank, world_size=self.world_size)

    def destroy_pg(self, *args, **kwargs):
        if self.is_guilty and self._testMethodName == "test_at_exit":
            self.strike()
            time.sleep(FOREVER)
        super().destroy_pg(*args, **kwargs)

    @ends(
        Ending.ERROR,
        stands("test_misses_a_collective", WAITED),
        "ranks 0, 2 entered barrier",
        "rank 1 did not",
        hang=True,
    )
    @with_comms
    def test_misses_a_collective(self):
        """Sleeps, while the others wait for it in a collective."""
        self.meet()
        if self.is_guilty:
            self.strike()
            time.sleep(FOREVER)
        dist.barrier()

    @ends(
        Ending.ERROR,
        stands("test_never_enters_the_group", r"waited in init_process_group \(hangs.py:\d+\)"),
        hang=True,
    )
    def test_never_enters_the_group(self):
        """Never enters the process group that the others wait in."""
        if self.is_guilty:
            self.strike()
            time.sleep(FOREVER)
        self.init_pg(False)

    @ends(Ending.ERROR, r"ranks 0-2 still ran at the deadline, in init_process_group \(hangs.py:\d+\)$", hang=True)
    def test_two_ranks_of_the_same_number(self):
        """Rank 1 enters the process group as rank 0."""
        self.strike()
        if self.is_guilty:
            self.rank = 0
        self.init_pg(False)

    @ends(Ending.ERROR, stands("destroy_pg", WAITED), hang=True)
    @with_comms
    def test_at_exit(self):
        """Its test passes, and it never gets out of destroying its process group."""
        self.meet()

    @ends(Ending.ERROR, stands("never_returns"), "stacks of rank 1", hang=True)
    def test_in_a_cleanup(self):
        """Its test passes, and a cleanup never returns."""
        if self.is_guilty:
            self.addCleanup(self.never_returns)

    def never_returns(self):
        self.strike()
        time.sleep(FOREVER)


class Resists(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, SILENT, hang=True)
    def test_stops_itself(self):
        """Stops itself, as by Ctrl-Z."""
        if self.is_guilty:
            self.strike()
            os.kill(os.getpid(), signal.SIGSTOP)

    @ends(Ending.ERROR, stands("test_ignores_sigterm"), hang=True)
    def test_ignores_sigterm(self):
        """Ignores SIGTERM, and sleeps."""
        if self.is_guilty:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.strike()
            time.sleep(FOREVER)

    @ends(Ending.ERROR, stands("test_blocks_all_signals"), hang=True)
    def test_blocks_all_signals(self):
        """Blocks every signal, that which asks for its stacks included, and sleeps."""
        if self.is_guilty:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            self.strike()
            time.sleep(FOREVER)

    @ends(Ending.ERROR, "rank 1 still ran at the deadline", hang=True)
    def test_default_handlers(self):
        """Puts every signal back to its default, that which asks for its stacks included, and sleeps."""
        if self.is_guilty:
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            self.strike()
            time.sleep(FOREVER)

    @ends(Ending.ERROR, stands("test_leaves_its_process_group"), hang=True)
    def test_leaves_its_process_group(self):
        """Leaves its process group for its parent's, and sleeps."""
        if self.is_guilty:
            os.setpgid(0, os.getpgid(os.getppid()))
            self.strike()
            time.sleep(FOREVER)

    @ends(Ending.ERROR, SILENT, hang=True)
    def test_becomes_another_program(self):
        """Replaces itself by a program that never ends."""
        if self.is_guilty:
            self.strike()
            os.execv("/bin/sleep", ["sleep", str(FOREVER)])

    @ends(Ending.ERROR, stands("test_children_that_resist"), hang=True)
    def test_children_that_resist(self):
        """Starts children that ignore SIGTERM, one in a session of its own, and sleeps."""
        if self.is_guilty:
            script = f"trap '' TERM HUP INT; sleep {FOREVER}; true"
            subprocess.Popen(["sh", "-c", script])
            subprocess.Popen(["sh", "-c", script], start_new_session=True)
            self.strike()
            time.sleep(FOREVER)


class Slow(Faulty, DTensorTestBase):
    @ends(Ending.PASSED)
    @with_comms
    def test_slow(self):
        """Takes a second longer than the others, and passes."""
        self.meet()
        if self.is_guilty:
            time.sleep(1)
            self.strike()
        dist.barrier()
