"""The controller's handle on its fork server: a zygote that is a new interpreter (see `zygote_main`).

It stands in for the zygote where the test process cannot be forked, because threads run in it (as pytest-xdist's do) or
because it uses an accelerator. It imports what the test process has imported for its tests, once, and is pristine
unless the test's module itself starts threads or a driver. A rank that is forked from it is like a spawned one.

    controller --exec--> fork server --fork--> rank 0 ... rank N-1
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.likeness import likeness
from torch_testing_shim._engine.spawned import InterpreterLink, start_interpreter

__all__ = ["ForkServer"]

#: How long it may take to import what a test needs and to fork its first rank, in seconds: torch is read from a cold
#: disk in less. What has ended in the test process may never end there: it may wait for a lock that the former holds.
START_SECONDS = 120.0

_PROGRAM = """
from torch_testing_shim._engine.fork_server_main import become_fork_server
become_fork_server({order!r}, {orders}, {controller})
"""


class ForkServer(InterpreterLink):
    """A running fork server; it may still be importing."""

    _name = "the interpreter that ranks are forked from"
    _patience = START_SECONDS

    @classmethod
    def start(cls, folder: ScratchFolder, preload: Sequence[str]) -> ForkServer:
        """Starts a fork server.

        Args:
            folder: the scratch folder of the first test, which lasts until its ranks have started.
            preload: modules that tests import lazily, to be imported ahead.

        Raises:
            OSError: the system has no more processes or descriptors to give.
            RuntimeError: this process is itself a rank that imports its main module.
        """
        folder.preparation.write_text(json.dumps({**likeness(), "preload": list(preload)}))
        # The test's module has printed already what it prints when it is imported.
        return cls(*start_interpreter(_PROGRAM, subprocess.DEVNULL, order=str(folder.preparation)))

    def can_have(self, module: str) -> bool:
        """True: it imports the module of a test whose ranks it is to fork."""
        return True
