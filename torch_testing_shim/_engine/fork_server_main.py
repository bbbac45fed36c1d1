"""The fork server's own code: a new interpreter that becomes like the test process, and then a zygote."""

from __future__ import annotations

import gc
import json
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.likeness import become_alike, import_module
from torch_testing_shim._shared.parent_death import signal_on_parent_death

__all__ = ["become_fork_server"]


def become_fork_server(order: str, orders: int, controller_pid: int) -> NoReturn:
    """Runs the fork server in this process until the controller closes its end.

    Args:
        order: path of the file that says what this process is to be like.
        orders: descriptor of its end of the socket.
        controller_pid: the process whose death ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the controller's to handle
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
