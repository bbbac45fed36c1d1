"""A process's memory in huge pages, so that forks of it are cheap: a fork copies an entry for each page.

With torch 2.13 imported, a fork takes 0.7 ms in place of 1.4 ms (medians of 41 forks on Linux 6.18, two cores): some
37,000 small pages become some 60 huge ones and a few thousand small ones. A warm interpreter has each file save that:
16 files of two tests on 2 ranks take 1.7 s of system time in place of 2.15 s (four runs each, on a busy machine). So
does the zygote for its ranks, once it has forked many: a tiny test on 4 of them takes 67 ms of system time in place of
98 ms (medians of three runs of 50 tests, on a very busy machine). A fork that writes to a huge page gets a copy of the
small page around the write. Linux only; where the kernel has no huge pages to give, everything works as without.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

#: Has glibc's malloc (2.35 and newer) ask for huge pages from the start, which saves collecting them later.
TUNABLES_VARIABLE = "GLIBC_TUNABLES"
MALLOC_IN_HUGE_PAGES = "glibc.malloc.hugetlb=1"

#: The kernel's name for "collect into huge pages, now" (Linux 6.1 and newer); Python's mmap module has no name for it.
MADV_COLLAPSE = 25
#: The size of a huge page on x86-64, and on arm64 with pages of 4 KiB. With another one the kernel finds less to do.
HUGE_BYTES = 1 << 21
#: A line of /proc/self/maps about memory that is private, writable and of no file: begin, end, and "[heap]" or nothing.
OWN_MEMORY = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 +(?:\[heap\])?$")


def environment_for_huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of an interpreter that others are forked from; one that tunes glibc already is left as it is."""
    return {TUNABLES_VARIABLE: MALLOC_IN_HUGE_PAGES, **environment}


def use_huge_pages() -> None:
    """Collect the memory of this process into huge pages, as far as the kernel can."""
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with open("/proc/self/maps") as maps:
        lines = maps.read().splitlines()
    for begin, size in huge_ranges(lines):
        madvise(begin, size, MADV_COLLAPSE)  # where it fails, the pages stay as they are


def huge_ranges(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Begin and size, in bytes, of each part of a process's own memory that whole huge pages fit in.

    Args:
        maps: the lines of its /proc/<pid>/maps.
    """
    for line in maps:
        found = OWN_MEMORY.match(line)
        if found is not None:
            begin = -(-int(found[1], 16) // HUGE_BYTES) * HUGE_BYTES
            end = int(found[2], 16) // HUGE_BYTES * HUGE_BYTES
            if begin < end:
                yield begin, end - begin
