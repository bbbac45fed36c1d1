"""A rank starts processes and leaves them: they are gone when the verdict is there."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

SLEEP = ["sleep", str(FOREVER)]


class Leaves(Faulty, DTensorTestBase):
    @ends(Ending.PASSED)
    @with_comms
    def test_child(self):
        """Leaves a child."""
        self.meet()
        if self.is_guilty:
            self.strike()
            subprocess.Popen(SLEEP)
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_child_in_its_own_session(self):
        """Leaves a child in a session of its own."""
        self.meet()
        if self.is_guilty:
            self.strike()
            subprocess.Popen(SLEEP, start_new_session=True)
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_daemon(self):
        """Leaves a daemon: forked twice, in a session of its own, deaf to SIGTERM and SIGHUP."""
        self.meet()
        if self.is_guilty:
            self.strike()
            self.start_daemon()
        dist.barrier()

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGKILL, without finishing its test$")
    @with_comms
    def test_daemon_and_dies(self):
        """Leaves a daemon, and kills itself."""
        self.meet()
        if self.is_guilty:
            self.start_daemon()
            self.strike()
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    @ends(Ending.PASSED)
    def test_family_of_daemons(self):
        """Leaves a daemon that starts others, which start others."""
        if self.is_guilty:
            self.strike()
            script = f"for i in 1 2 3; do setsid sh -c 'sleep {FOREVER} & sleep {FOREVER}' & done; wait"
            subprocess.Popen(["sh", "-c", script], start_new_session=True)
            time.sleep(0.2)  # until they are there

    @ends(Ending.PASSED)
    def test_stopped_child(self):
        """Leaves a child that is stopped."""
        if self.is_guilty:
            self.strike()
            os.kill(subprocess.Popen(SLEEP).pid, signal.SIGSTOP)

    @ends(Ending.PASSED)
    @with_comms
    def test_child_that_raises_in_a_group(self):
        """Forks a child that raises: it is no rank, and cleans up nothing of the rank's."""
        self.meet()
        if self.is_guilty:
            self.strike()
            if os.fork() == 0:
                raise RuntimeError("in the child")
            os.wait()
        dist.barrier()

    def start_daemon(self) -> None:
        if os.fork():
            os.wait()
            return
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if os.fork():
            os._exit(0)
        time.sleep(FOREVER)
        os._exit(0)


class Forks(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 0, without finishing its test$")
    def test_child_that_passes_in_its_place(self):
        """Forks, and the child runs on to the end of the test, while the rank ends without a word."""
        if self.is_guilty and os.fork():
            os.wait()
            self.strike()
            os._exit(0)

    @ends(Ending.PASSED)
    def test_child_that_raises(self):
        """Forks, and the child raises in the test, which is not the rank's failure."""
        if self.is_guilty:
            self.strike()
            if not os.fork():
                raise ValueError("in the child")
            os.wait()

    @ends(Ending.PASSED)
    def test_children_end_unawaited(self):
        """Starts children that end, and waits for none."""
        if self.is_guilty:
            self.strike()
            for _ in range(20):
                subprocess.Popen(["true"])
