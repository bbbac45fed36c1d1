"""What runs in the new interpreters: in the supervisor, and in each rank until it is like the test process.

Imports no torch: the supervisor needs none, and a rank imports its main module first, which may set what torch reads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from typing import NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.keeper import Keeper
from torch_testing_shim._engine.likeness import become_alike, become_child
from torch_testing_shim._engine.new_interpreter import program_with_package
from torch_testing_shim._shared.parent_death import signal_on_parent_death

__all__ = ["become_rank", "is_importing_main", "supervise"]

_PROGRAM = """
from torch_testing_shim._engine.spawned_main import become_rank
become_rank(*sys.argv[1:])
"""


def supervise(orders: int, controller_pid: int, interpreter: Sequence[str]) -> NoReturn:
    """Runs the supervisor in this process until the controller closes its end.

    Args:
        orders: descriptor of its end of the socket.
        controller_pid: the process whose death ends this one.
        interpreter: the command that runs a program given as its next argument, with the test process's options.
    """

    def execute_rank(job: RankJob, descriptors: Sequence[int], supervisor_pid: int) -> NoReturn:
        os.setpgid(0, 0)
        signal_on_parent_death(supervisor_pid, signal.SIGKILL)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        arguments = [job.to_json(), json.dumps(descriptors), str(supervisor_pid)]
        environment = {**os.environ, "TMPDIR": str(job.folder.temporary)}  # for what its module's imports make there
        os.execve(interpreter[0], [*interpreter, program_with_package(_PROGRAM), *arguments], environment)

    Keeper(socket.socket(fileno=orders), controller_pid, execute_rank).run()
    os._exit(0)


def is_importing_main() -> bool:
    """True in a rank while it imports its main module, which must not run the tests there."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def become_rank(job_json: str, descriptors: str, supervisor_pid: str) -> NoReturn:
    """Imports the test's main module in this interpreter, as multiprocessing does, and carries out the job."""
    job = RankJob.from_json(job_json)
    become_child(job.controller_pid, job.rank)
    become_alike(json.loads(job.folder.preparation.read_text()))
    from torch_testing_shim._engine.rank_main import run_rank

    run_rank(job, json.loads(descriptors), int(supervisor_pid))
