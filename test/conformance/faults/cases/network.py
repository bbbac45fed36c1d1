"""The network between hosts, and a host as a whole: only where ranks are on several hosts.

These are network namespaces. The guilty rank does it to its own host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, RANKS, Faulty
from faults.machine import why_no_netem, why_no_tbf
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

UNHEARD = "nothing was heard from ranks 1, 2, says rank 0$"


class Link(Faulty, DTensorTestBase):
    def meet_again_and_again(self) -> None:
        while True:
            dist.barrier()
            time.sleep(0.05)

    def slow_down(self, *how: str) -> None:
        """Slows down what this host sends, and brings a good test to its end."""
        self.meet()
        if self.is_guilty:
            subprocess.run(["tc", "qdisc", "add", "dev", "cable", "root", *how], check=True)
            self.strike()
        for _ in range(5):
            total = torch.ones(1000)
            dist.all_reduce(total)
            self.assertEqual(total, torch.full((1000,), float(RANKS)))
        dist.barrier()
        if self.is_guilty:
            subprocess.run(["tc", "qdisc", "del", "dev", "cable", "root"], check=True)

    @ends(Ending.ERROR, UNHEARD, "host2 tells: nothing was heard from rank 0, says ranks 1, 2", hang=True)
    @with_comms
    def test_host_cut_off(self):
        """Takes its host's cable away, while all ranks meet again and again."""
        self.meet()
        if self.is_guilty:
            self.strike()
            subprocess.run(["ip", "link", "set", "cable", "down"], check=True)
        self.meet_again_and_again()

    @ends(Ending.PASSED, needs=why_no_tbf)
    @with_comms
    def test_narrow_link(self):
        """Lets its host send 1 Mbit/s."""
        self.slow_down("tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms")

    @ends(Ending.PASSED, needs=why_no_netem)
    @with_comms
    def test_lossy_link(self):
        """Delays what its host sends by 50 ms, and loses one packet in a hundred."""
        self.slow_down("netem", "delay", "50ms", "loss", "1%")


class Host(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, UNHEARD)
    @with_comms
    def test_host_killed(self):
        """Kills every process of its host, torchrun first, and itself last."""
        self.meet()
        if self.is_guilty:
            for number in (signal.SIGINT, signal.SIGTERM):  # which come where torchrun is gone
                signal.signal(number, signal.SIG_IGN)
            self.strike()
            own = os.readlink("/proc/self/ns/net")
            for path in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if os.readlink(path / "ns" / "net") == own and path.name != str(os.getpid()):
                        os.kill(int(path.name), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()
        time.sleep(FOREVER)
