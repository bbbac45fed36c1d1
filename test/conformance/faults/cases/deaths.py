"""A rank's process ends without a word while the others wait for it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, GUILTY, Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

LOST = "ranks 0, 2 lost their connection to rank 1"


def died(how: str) -> str:
    return rf"rank 1 \(pid \d+\) died: {how}, without finishing its test$"


class Signals(Faulty, DTensorTestBase):
    def die_by(self, number: signal.Signals) -> None:
        self.meet()
        if self.is_guilty:
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)  # `nohup` has all that it starts ignore SIGHUP
            self.strike()
            os.kill(os.getpid(), number)
        dist.barrier()

    @ends(Ending.ERROR, died("killed by SIGKILL"), LOST)
    @with_comms
    def test_sigkill(self):
        """Kills itself."""
        self.die_by(signal.SIGKILL)

    @ends(Ending.ERROR, died("killed by SIGTERM"), LOST)
    @with_comms
    def test_sigterm(self):
        """Terminates itself."""
        self.die_by(signal.SIGTERM)

    @ends(Ending.ERROR, died("killed by SIGBUS"), LOST)
    @with_comms
    def test_sigbus(self):
        """Gets a bus error."""
        self.die_by(signal.SIGBUS)

    @ends(Ending.ERROR, died("killed by SIGHUP"), LOST)
    @with_comms
    def test_sighup(self):
        """Loses its terminal."""
        self.die_by(signal.SIGHUP)

    @ends(Ending.ERROR, died("killed by SIGSEGV"), LOST, r"\[rank 1\] about to crash", "in string_at")
    @with_comms
    def test_segmentation_fault(self):
        """Reads address 0."""
        self.meet()
        if self.is_guilty:
            print("about to crash")
            self.strike()
            ctypes.string_at(0)
        dist.barrier()

    @ends(Ending.ERROR, died("killed by SIGABRT"), LOST)
    @with_comms
    def test_abort(self):
        """Calls abort(), as a failed C++ check does."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.abort()
        dist.barrier()

    @ends(Ending.ERROR, died("killed by SIGKILL"), "ranks 0, 2 still ran and had to be stopped")
    @with_comms
    def test_sigkill_while_others_sleep(self):
        """Kills itself; the others do not notice by themselves."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(FOREVER)

    @ends(Ending.ERROR, died("killed by SIGKILL"), LOST)
    @with_comms
    def test_kills_its_process_group(self):
        """Kills its process group, as a clean-up of children does that forgot who it is."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.killpg(0, signal.SIGKILL)
        dist.barrier()

    @ends(Ending.ERROR, r"rank [012] \(pid \d+\) died: killed by SIGSEGV, without finishing its test$")
    @with_comms
    def test_all_ranks_crash(self):
        """All ranks crash at once."""
        self.meet()
        self.strike()
        os.kill(os.getpid(), signal.SIGSEGV)

    @ends(Ending.ERROR, died("killed by SIGKILL"), "rank 2, too:\n(.*\n)+ValueError: later")
    def test_sigkill_then_an_exception_elsewhere(self):
        """Kills itself, and rank 2 raises something of its own a little later."""
        if self.is_guilty:
            self.strike()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.rank == 2:
            time.sleep(0.5)
            raise ValueError("later")

    @ends(Ending.ERROR, died("killed by SIGKILL"))
    @with_comms
    def test_sigkill_and_peers_that_wrap_their_error(self):
        """Kills itself; the others catch what the collective raises and raise an error of their own."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            dist.barrier()
        except RuntimeError as error:
            raise ValueError("the save has failed") from error


class ExitCodes(Faulty, DTensorTestBase):
    def exit_by(self, leave, code) -> None:
        self.meet()
        if self.is_guilty:
            self.strike()
            leave(code)
        dist.barrier()

    @ends(Ending.ERROR, died("exit code 0"), LOST)
    @with_comms
    def test_os_exit_0(self):
        """Ends by os._exit(0)."""
        self.exit_by(os._exit, 0)

    @ends(Ending.ERROR, died("exit code 3"), LOST)
    @with_comms
    def test_os_exit_3(self):
        """Ends by os._exit(3)."""
        self.exit_by(os._exit, 3)

    @ends(Ending.ERROR, died("exit code 255"), LOST)
    @with_comms
    def test_os_exit_255(self):
        """Ends by os._exit(255)."""
        self.exit_by(os._exit, 255)

    @ends(Ending.ERROR, died("exit code 0"), "ranks 0, 2 passed")
    def test_os_exit_0_while_others_pass(self):
        """Ends by os._exit(0) before its test is over, and all others pass."""
        if self.is_guilty:
            self.strike()
            os._exit(0)

    @ends(Ending.ERROR, died("exit code 10"))
    def test_exit_code_of_a_test_error(self):
        """Ends with the code by which a harness tells itself that the test raised."""
        if self.is_guilty:
            self.strike()
            os._exit(self.TEST_ERROR_EXIT_CODE)

    @ends(Ending.ERROR, died("exit code 0"))
    @with_comms
    def test_sys_exit_0(self):
        """Ends by sys.exit(0), as a main program does."""
        self.exit_by(sys.exit, 0)

    @ends(Ending.ERROR, died("exit code 3"))
    @with_comms
    def test_sys_exit_3(self):
        """Ends by sys.exit(3)."""
        self.exit_by(sys.exit, 3)

    @ends(Ending.ERROR, died("exit code 1"), r"\[rank 1\] usage: train")
    @with_comms
    def test_sys_exit_with_a_text(self):
        """Ends by sys.exit("usage: train")."""
        self.exit_by(sys.exit, "usage: train")

    @ends(Ending.ERROR, died("exit code 0"))
    @with_comms
    def test_becomes_another_program(self):
        """Replaces itself by another program, which ends well."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.execv("/bin/true", ["true"])
        dist.barrier()


class AfterItsTest(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGSEGV, without finishing its test$")
    def test_crashes_in_a_cleanup(self):
        """Its test passes, and a cleanup crashes."""
        if self.is_guilty:
            self.addCleanup(os.kill, os.getpid(), signal.SIGSEGV)
            self.addCleanup(self.strike)

    @ends(Ending.ERROR, "rank 1 errored: ValueError: first", r"rank 1 then died: killed by SIGSEGV")
    def test_raises_and_crashes_in_a_cleanup(self):
        """Its test raises, and a cleanup crashes: a double fault."""
        if self.is_guilty:
            self.addCleanup(os.kill, os.getpid(), signal.SIGSEGV)
            self.strike()
            raise ValueError("first")

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGSEGV, after its test had ended$")
    def test_crashes_after_its_test(self):
        """Says that its test has passed, and crashes on its way out."""

    @classmethod
    def _run(cls, rank, test_name, *args, **kwargs):
        super()._run(rank, test_name, *args, **kwargs)
        if rank == GUILTY and test_name == "test_crashes_after_its_test":
            cls(test_name).strike()
            os.kill(os.getpid(), signal.SIGSEGV)
