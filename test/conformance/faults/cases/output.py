"""Faults of a rank's output and descriptors."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


def own_pipes() -> list[int]:
    """The descriptors of this rank that are pipes; that to the controller is one."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listed them
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.append(int(name))
    return found


class Prints(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$", "\\[rank 1\\] \ufffd\ufffd before")
    @with_comms
    def test_no_text(self):
        """Prints bytes that are no UTF-8, and raises."""
        self.meet()
        if self.is_guilty:
            os.write(1, b"\xff\xfe before\n")
            self.strike()
            raise ValueError("boom")
        dist.barrier()

    @ends(Ending.PASSED)
    def test_no_text_and_passes(self):
        """Prints bytes that are no UTF-8, and passes."""
        self.strike()
        os.write(1, b"\xff\xfe\n")
        print("\ud800")

    @ends(Ending.PASSED)
    def test_100_MB(self):
        """Prints 100 MB, and passes."""
        if self.is_guilty:
            for _ in range(100):
                print("x" * 1_000_000)
            self.strike()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$", r"\[rank 1\] the last line")
    def test_100_MB_and_raises(self):
        """Prints 100 MB, and raises."""
        if self.is_guilty:
            for _ in range(1_000_000):
                sys.stdout.write("x" * 99 + "\n")
            print("the last line")
            self.strike()
            raise ValueError("boom")

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$", r"10000 x UserWarning: again")
    def test_10000_warnings(self):
        """Gives 10,000 warnings, and raises."""
        if self.is_guilty:
            warnings.simplefilter("always")
            for _ in range(10_000):
                warnings.warn("again", stacklevel=1)
            self.strike()
            raise ValueError("boom")

    @ends(Ending.ERROR, "rank 1 errored: EOFError: ")
    def test_asks_for_input(self):
        """Asks the user, who is not there."""
        if self.is_guilty:
            self.strike()
            input("your name: ")


class Closes(Faulty, DTensorTestBase):
    @ends(Ending.PASSED)
    @with_comms
    def test_closes_stdout_and_stderr(self):
        """Closes sys.stdout and sys.stderr, and passes."""
        self.meet()
        if self.is_guilty:
            sys.stdout.close()
            sys.stderr.close()
            self.strike()
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$")
    @with_comms
    def test_closes_descriptors_1_and_2(self):
        """Closes descriptors 1 and 2, and raises."""
        self.meet()
        if self.is_guilty:
            os.close(1)
            os.close(2)
            self.strike()
            raise ValueError("boom")
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$")
    def test_stdout_is_none(self):
        """Sets sys.stdout and sys.stderr to None, and raises."""
        if self.is_guilty:
            sys.stdout = sys.stderr = None
            self.strike()
            raise ValueError("boom")

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 3, without finishing its test$")
    def test_stdout_that_cannot_be_flushed(self):
        """Puts something in the place of sys.stdout that cannot be flushed, and ends by sys.exit(3)."""
        if self.is_guilty:
            sys.stdout = object()
            self.strike()
            sys.exit(3)

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 1, without finishing its test$", "Bad file descriptor")
    def test_closes_its_pipe(self):
        """Closes the pipe to the controller, so that it cannot say how its test ended."""
        if self.is_guilty:
            self.strike()
            for pipe in own_pipes():
                os.close(pipe)

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: exit code 1, without finishing its test$", "Bad file descriptor")
    def test_closes_all_inherited_descriptors(self):
        """Closes every descriptor above 2."""
        if self.is_guilty:
            self.strike()
            os.closerange(3, 4096)

    @ends(Ending.ERROR, r"rank 1 \(pid \d+\) died: ")
    @with_comms
    def test_closes_all_descriptors(self):
        """Closes every descriptor, in the middle of a process group's life."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.closerange(0, 4096)
        dist.barrier()

    @ends(Ending.ERROR, r"rank 1 errored: ValueError: boom$", ours_only="upstream's ranks have another protocol")
    def test_writes_to_all_its_descriptors(self):
        """Writes to whatever it has open, without end of line, and raises."""
        if self.is_guilty:
            for name in os.listdir("/proc/self/fd"):
                try:
                    os.write(int(name), b"no outcome")
                except OSError:
                    continue
            self.strike()
            raise ValueError("boom")

    @ends(Ending.ERROR, "rank 0 errored: ValueError: boom$", ours_only="upstream's ranks have another protocol")
    def test_floods_its_pipe(self):
        """Rank 1 writes to the controller's pipe without end, and rank 0 raises meanwhile."""
        if self.rank == 0:
            self.strike()
            raise ValueError("boom")
        while self.is_guilty:
            for pipe in own_pipes():
                os.write(pipe, b"x" * 65536)
