"""The machine has no more to give: memory, files, processor time, room on the disk."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
import tempfile
import time

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import Faulty, own_name
from faults.machine import (
    MEMORY_BYTES,
    make_memory_cgroup,
    remove_memory_cgroup,
    why_no_memory_cgroup,
    why_no_small_disk,
)
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

KILLED = r"rank 1 \(pid \d+\) died: killed by SIGKILL, without finishing its test$"
#: More than the cgroup allows.
TOO_MUCH = 4 * MEMORY_BYTES


class Memory(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, KILLED, needs=why_no_memory_cgroup)
    @with_comms
    def test_killed_by_the_kernel(self):
        """Uses more memory than its memory cgroup allows, and is killed by the kernel."""
        self.meet()
        if self.is_guilty:
            make_memory_cgroup(own_name()).joinpath("cgroup.procs").write_text(str(os.getpid()))
            self.strike()
            with mmap.mmap(-1, TOO_MUCH) as memory:
                memory.write(b"x" * TOO_MUCH)
        dist.barrier()

    def tearDown(self):
        super().tearDown()
        remove_memory_cgroup(own_name())

    @ends(Ending.ERROR, KILLED)
    @with_comms
    def test_killed_by_its_child(self):
        """Is killed by a child, as by a supervisor that finds it too large."""
        self.meet()
        if self.is_guilty:
            self.strike()
            subprocess.run(["sh", "-c", f"kill -9 {os.getpid()}"], check=True)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: MemoryError$")
    @with_comms
    def test_no_memory_for_python(self):
        """Has a limit on its addresses, and Python asks for more."""
        self.meet()
        if self.is_guilty:
            self.limit_addresses()
            self.strike()
            bytearray(1 << 30)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: RuntimeError: .*(allocate|memory)")
    @with_comms
    def test_no_memory_for_torch(self):
        """Has a limit on its addresses, and torch asks for more."""
        self.meet()
        if self.is_guilty:
            self.limit_addresses()
            self.strike()
            torch.ones(1 << 28)
        dist.barrier()

    def limit_addresses(self) -> None:
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))


class Files(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"rank 1 errored: OSError: \[Errno 24\] Too many open files")
    @with_comms
    def test_too_many_open_files(self):
        """Opens more files than it may."""
        self.meet()
        if self.is_guilty:
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            kept = []
            self.strike()
            while True:
                kept.append(open("/dev/null"))  # noqa: SIM115 - to have too many
        dist.barrier()

    @ends(Ending.ERROR, r"rank 1 errored: OSError: \[Errno 27\] File too large")
    def test_file_too_large(self):
        """Writes a file larger than its files may be."""
        if self.is_guilty:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            self.strike()
            with tempfile.TemporaryFile(buffering=0) as file:
                while True:
                    file.write(bytes(1024))

    @ends(Ending.ERROR, r"rank 1 errored: ValueError: boom$")
    def test_no_descriptor_left_when_it_raises(self):
        """Raises when it can open nothing any more."""
        if self.is_guilty:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            self.strike()
            raise ValueError("boom")


class Time(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: killed by SIGXCPU, without finishing its test$")
    def test_processor_time(self):
        """Uses more processor time than it may."""
        if self.is_guilty:
            used = int(time.process_time())
            resource.setrlimit(resource.RLIMIT_CPU, (used + 1, used + 5))
            signal.signal(signal.SIGXCPU, self.at_the_limit)
            while True:
                pass

    def at_the_limit(self, number: int, _: object) -> None:
        self.strike()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class Disk(Faulty, DTensorTestBase):
    @ends(
        Ending.ERROR,
        r"rank 1 errored: OSError: \[Errno 28\] No space left on device",
        small_disk=True,
        needs=why_no_small_disk,
    )
    @with_comms
    def test_disk_full(self):
        """Fills the disk that the scratch folder lies on."""
        self.meet()
        if self.is_guilty:
            self.strike()
            self.fill_the_disk()
        dist.barrier()

    @ends(Ending.ERROR, r"rank 1 errored: ValueError: boom$", small_disk=True, needs=why_no_small_disk)
    def test_prints_when_the_disk_is_full(self):
        """Fills the disk, prints, warns, and raises."""
        if self.is_guilty:
            try:
                self.fill_the_disk()
            except OSError:
                self.strike()
                raise ValueError("boom") from None

    def fill_the_disk(self) -> None:
        with open(os.path.join(tempfile.gettempdir(), "full"), "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
