"""torchrun, less the start of interpreters: its agent enters a host, and its workers are forks of the agent.

    python forking_torchrun.py OPTIONS OF TORCHRUN... FILE WORDS...

The agent is torch's own, with its rendezvous, its store and its way of ending workers. Four workers that import torch
take ten seconds and more on two cores, and a hundred faults each end theirs.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import runpy
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch._dynamo  # noqa: F401 - which takes seconds, and some faults import it
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

from faults.cases import NETWORK, THEMES

__all__ = ["OUTPUT", "PIDS"]

#: Name the variables with the folder that each worker leaves its process id in, by rank, and with the file of outputs.
PIDS, OUTPUT = "FAULT_PIDS", "FAULT_OUTPUT"
_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000


def main(words: list[str]) -> None:
    _redirect_output()
    _enter_host()
    options = parse_args(words)
    options.master_port = options.master_port or 29500  # as torchrun has it
    for theme in (*THEMES, NETWORK):
        importlib.import_module(f"faults.cases.{theme}")  # once for all workers
    config, _, _ = config_from_args(options)
    launch = elastic_launch(replace(config, start_method="fork"), _work)
    launch(options.training_script, options.training_script_args)


def _redirect_output() -> None:
    file = os.open(os.environ[OUTPUT], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)


def _enter_host() -> None:
    system = ctypes.CDLL(None, use_errno=True)
    with open(os.environ["HOST_NAMESPACE"]) as namespace:
        if system.setns(namespace.fileno(), _CLONE_NEWNET) or system.unshare(_CLONE_NEWUTS):
            raise OSError(ctypes.get_errno(), "cannot enter the host")
    socket.sethostname(os.environ["HOST_NAME"])


def _work(script: str, words: list[str]) -> None:
    os.setsid()  # as torchrun starts its workers
    Path(os.environ[PIDS], os.environ["RANK"]).write_text(str(os.getpid()))
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    main(sys.argv[1:])
