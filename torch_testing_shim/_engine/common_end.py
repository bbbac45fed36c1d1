"""Ranks that are done leave together, so that none closes its connections while another still makes them.

A test that ends right after `init_process_group` ends in one rank before another has heard of its connection, which it
would then find closed.

    each rank holds the writing end of a FIFO in the test's scratch folder until it is done
    a rank that is done waits for the end of the file: the others are done, too, or have ended

A rank does not wait longer than a connection takes, nor where the test cannot pass any more: a rank that waits for one
that is done has to learn of it. A rank that raises, dies or calls `os._exit` waits for nobody.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from torch_testing_shim._engine.job import ScratchFolder

#: How long a rank that is done waits for the others, in seconds. Ranks that connect with each other were done up to
#: 0.12 s apart where 4 of them shared 2 cores with 20 busy processes, and 0.2 s where there were 16. A rank that waits
#: in vain for one that is done learns of it later by this time, and the watchdog's times have to stay within 2 s.
_PATIENCE_SECONDS = 0.5


class CommonEnd:
    """A rank's part in the common end of a test's ranks; made before the test begins."""

    def __init__(self, folder: ScratchFolder) -> None:
        with suppress(FileExistsError):
            os.mkfifo(folder.common_end, 0o600)
        self._pid = os.getpid()
        self._reader = os.open(folder.common_end, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(folder.common_end, os.O_WRONLY | os.O_NONBLOCK)
        self._is_held = True
        os.register_at_fork(after_in_child=self._let_go)  # a process that outlives the test must not hold it

    def wait(self) -> None:
        """Waits for the others, once. In a process that the test has forked from its rank it returns at once."""
        if not self._is_held or os.getpid() != self._pid:
            return
        self._let_go()
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(_PATIENCE_SECONDS * 1000)
        with suppress(OSError):
            os.close(self._reader)

    def _let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            with suppress(OSError):  # the test has closed what it did not open
                os.close(self._writer)


def call_off_common_end(folder: ScratchFolder) -> None:
    """Makes ranks that wait for the others leave at once; called by the controller."""
    with suppress(OSError):  # no rank has come so far, or all have left
        descriptor = os.open(folder.common_end, os.O_WRONLY | os.O_NONBLOCK)
        os.write(descriptor, b".")
        os.close(descriptor)
