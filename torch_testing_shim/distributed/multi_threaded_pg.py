"""Upstream's `distributed.multi_threaded_pg`: a process group whose ranks are threads of one process."""

from __future__ import annotations

from torch_testing_shim._cases.threads.process_group import (
    ProcessLocalGroup as ProcessLocalGroup,
    create_threaded_pg,
    install_threaded_pg,
    uninstall_threaded_pg,
)
from torch_testing_shim._cases.threads.thread_world import ThreadLocalWorld as ThreadLocalWorld
from torch_testing_shim._upstream.graft import served

__getattr__ = served(__name__)

_create_threaded_pg = create_threaded_pg
_install_threaded_pg = install_threaded_pg
_uninstall_threaded_pg = uninstall_threaded_pg
