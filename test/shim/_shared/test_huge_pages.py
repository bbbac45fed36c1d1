"""Huge pages: for which memory, and that a real process gets them where it can."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared.huge_pages import (
    HUGE_BYTES,
    TUNABLES_VARIABLE,
    environment_for_huge_pages,
    huge_ranges,
)
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

ROOT = Path(__file__).resolve().parents[3]

#: Lines as they stand in /proc/self/maps; of the memory below, only the two that are this process's own count.
MAPS = """\
55d000000000-55d000801000 r-xp 00000000 fe:00 77                         /usr/bin/python3.11
55d001000000-55d001a00000 rw-p 00000000 00:00 0                          [heap]
7f0000100000-7f0000900000 rw-p 00000000 00:00 0 
7f0001000000-7f0002000000 rw-p 00200000 fe:00 78                         /usr/lib/libc.so.6
7f0002000000-7f0003000000 rw-s 00000000 00:01 79                         /dev/shm/torch
7f0003000000-7f0004000000 ---p 00000000 00:00 0 
7f0004000000-7f0004100000 rw-p 00000000 00:00 0 
7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0                          [stack]
""".splitlines()  # noqa: W291 - the kernel writes a space there

#: Prints how many kilobytes of huge pages a process has, before and after; it has 64 MiB in small ones. Ends with 77
#: where the kernel has none to give.
PROCESS = """
import mmap
import sys
from torch_testing_shim._shared.huge_pages import HUGE_BYTES, MADV_COLLAPSE, use_huge_pages

def huge():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHugePages"))

probe = mmap.mmap(-1, 2 * HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
probe.write(b"x" * len(probe))
try:
    probe.madvise(MADV_COLLAPSE)
except OSError:
    if not huge():
        sys.exit(77)

memory = mmap.mmap(-1, 32 * HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for place in range(0, len(memory), 4096):
    memory[place] = place // 4096 % 251
memory.madvise(mmap.MADV_HUGEPAGE)
before = huge()
use_huge_pages()
assert all(memory[place] == place // 4096 % 251 for place in range(0, len(memory), 4096)), "memory was changed"
print(before, huge())
"""


class RangesTest(TestCase):
    def test_memory_of_this_process_alone_counts_in_whole_pages(self) -> None:
        self.assertEqual([(0x55D001000000, 5 * HUGE_BYTES), (0x7F0000200000, 3 * HUGE_BYTES)], list(huge_ranges(MAPS)))

    @given(st.integers(1, 1 << 35), st.integers(1, 1 << 14))
    def test_a_range_lies_within_its_memory_and_leaves_less_than_a_page_on_each_side(
        self, page: int, pages: int
    ) -> None:
        begin, end = page * 4096, (page + pages) * 4096
        found = list(huge_ranges([f"{begin:x}-{end:x} rw-p 00000000 00:00 0 "]))
        for first, size in found:
            self.assertEqual((0, 0), (first % HUGE_BYTES, size % HUGE_BYTES))
            self.assertGreater(size, 0)
            self.assertTrue(begin <= first < begin + HUGE_BYTES)
            self.assertTrue(end - HUGE_BYTES < first + size <= end)
        self.assertEqual(1 if end // HUGE_BYTES > -(-begin // HUGE_BYTES) else 0, len(found))


class EnvironmentTest(TestCase):
    def test_what_the_user_tunes_stays(self) -> None:
        tuned = {TUNABLES_VARIABLE: "glibc.malloc.check=3", "A": "1"}
        self.assertEqual(tuned, environment_for_huge_pages(tuned))
        self.assertEqual("glibc.malloc.hugetlb=1", environment_for_huge_pages({"A": "1"})[TUNABLES_VARIABLE])


class ProcessTest(TestCase):
    @unittest.skipUnless(sys.platform == "linux", "huge pages are Linux's")
    def test_a_process_gets_huge_pages_and_keeps_what_is_in_its_memory(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", PROCESS], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if run.returncode == 77:
            self.skipTest("this kernel has no huge pages to give")
        self.assertEqual((0, ""), (run.returncode, run.stderr))
        before, after = map(int, run.stdout.split())
        self.assertGreater(after - before, 32 << 10)  # at least half of the memory


if __name__ == "__main__":
    run_tests()
