"""Code of new interpreters, until they are like the test process: the supervisor, the fork server, and spawned ranks.

Imports no torch: the supervisor needs none, and the others import the test's main module first, which may set what
torch reads.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.new_interpreter import become_alike, become_child, import_module, program_with_package
from torch_testing_shim._engine.rank_server import RankServer
from torch_testing_shim._shared.parent_death import signal_on_parent_death

_RANK = """
from torch_testing_shim._engine.new_interpreter_main import become_rank
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
        environment = {**os.environ, "TMPDIR": str(job.folder.temporary)}  # for files that its module's imports make
        os.execve(interpreter[0], [*interpreter, program_with_package(_RANK), *arguments], environment)

    RankServer(socket.socket(fileno=orders), controller_pid, execute_rank).run()
    os._exit(0)


def become_rank(job_json: str, descriptors: str, supervisor_pid: str) -> NoReturn:
    """Imports the test's main module in this interpreter, as multiprocessing does, and carries out the job."""
    job = RankJob.from_json(job_json)
    become_child(job.controller_pid, job.rank)
    become_alike(json.loads(job.folder.preparation.read_text()))
    from torch_testing_shim._engine.rank_main import run_rank  # here, since it imports torch

    run_rank(job, json.loads(descriptors), int(supervisor_pid))


def is_importing_main() -> bool:
    """Whether this process is a rank that imports its main module, which must not run the tests there."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def become_fork_server(order: str, orders: int, controller_pid: int) -> NoReturn:
    """Becomes like the test process, and then a zygote, until the controller closes its end.

    Args:
        order: path of the file that says how to become like the test process.
        orders: descriptor of its end of the socket.
        controller_pid: the process whose death ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller handles the terminal's Ctrl-C
    signal_on_parent_death(controller_pid, signal.SIGKILL)
    likeness = json.loads(Path(order).read_text())
    become_alike(likeness)
    from torch_testing_shim._engine.zygote_main import serve  # here, since it imports torch

    serve(socket.socket(fileno=orders), controller_pid, likeness["preload"], _prepare_for)


def _prepare_for(job: RankJob) -> None:
    """Imports the module of a rank's test.

    Raises:
        OSError: this process must not be forked any more, since the module has started a driver.
    """
    with suppress(Exception, SystemExit):  # the rank will try again, and report it
        import_module(job.module, job.module_file)
    from torch_testing_shim._engine.devices import DeviceError, fork_hazard
    from torch_testing_shim._shared.settings import SettingsError

    with suppress(DeviceError, SettingsError):
        if (hazard := fork_hazard()) is not None:
            raise OSError(hazard)
    gc.freeze()  # as the zygote does
