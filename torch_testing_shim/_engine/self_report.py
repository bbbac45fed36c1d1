"""Reports of a rank on itself, also while its main thread is stuck in a C++ collective.

    controller  --opens the FIFO for writing-->  [ rank: a thread that waits in opening it for reading ]
                <--------a pickled file---------'

The thread costs a rank some 100 us at its start and nothing after. It is started below `threading`, so that it is not
in that module's lists. It cannot answer where a C++ function holds the interpreter's lock: then there is no report.
"""

from __future__ import annotations

import _thread
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.rank_outcomes import handled_by
from torch_testing_shim._engine.stacks import Frame, frames_of
from torch_testing_shim._engine.waits import Wait, wait_of

#: How often a report is looked for while it is awaited, in seconds.
_POLL_SECONDS = 0.01
#: How long the thread may take to end, in seconds: it may be writing a report.
_STOP_SECONDS = 1.0


@dataclass(frozen=True)
class SelfReport:
    """A rank's report on itself."""

    threads: tuple[tuple[Frame, ...], ...]  # frames of its Python threads, innermost first; the main thread is first
    waits: tuple[Wait, ...] = ()  # what each of these threads waits for
    handled: tuple[str, str] = ("", "")  # headline and traceback of the exception that the main thread is handling
    #: Every time-out that may end its waits, in seconds: of its process groups and of the calls of torch.distributed
    #: that it is in.
    timeouts: tuple[float, ...] = ()
    world_sizes: tuple[int, ...] = ()  # of the calls of torch.distributed that it is in, where they have one
    flight: str = ""  # the JSON of torch's Flight Recorder; empty where this torch has none
    at_ns: int = 0  # time of the report on the clock of the Flight Recorder, in nanoseconds


def ask(folder: ScratchFolder, ranks: Iterable[int]) -> None:
    """Ask the ranks for new reports, without waiting. A rank that cannot be asked gives none."""
    for rank in ranks:
        folder.report(rank).unlink(missing_ok=True)
        with suppress(OSError):  # the rank does not wait for questions yet, or has ended
            os.close(os.open(folder.question(rank), os.O_WRONLY | os.O_NONBLOCK))


def read_reports(folder: ScratchFolder, ranks: Iterable[int], seconds: float) -> dict[int, SelfReport]:
    """Return the reports that arrive within `seconds`, by rank."""
    missing, found = set(ranks), {}
    give_up = time.monotonic() + seconds
    while missing:
        for rank in sorted(missing):
            with suppress(FileNotFoundError):
                found[rank] = pickle.loads(folder.report(rank).read_bytes())
        missing.difference_update(found)
        if not missing or time.monotonic() >= give_up:
            break
        time.sleep(_POLL_SECONDS)
    return found


def start_answering(folder: ScratchFolder, rank: int) -> Callable[[], None]:
    """Start the thread that answers `ask`. Return a function that ends it."""
    question, has_ended = folder.question(rank), _thread.allocate_lock()
    os.mkfifo(question, 0o600)
    has_ended.acquire()
    wanted = [True]
    _thread.start_new_thread(_answer, (question, folder.report(rank), wanted, has_ended))

    def stop() -> None:
        wanted.clear()
        end = os.open(question, os.O_RDWR)  # both ways, so that nobody waits in opening it
        has_ended.acquire(timeout=_STOP_SECONDS)
        os.close(end)

    return stop


def _answer(question: Path, report: Path, wanted: Collection[object], has_ended: _thread.LockType) -> None:
    partial = report.with_suffix(".partial")
    with suppress(OSError):  # the folder is gone: nobody will ask
        while wanted:
            os.close(os.open(question, os.O_RDONLY))
            if wanted:
                partial.write_bytes(pickle.dumps(report_of_this_process()))
                partial.rename(report)
    has_ended.release()


def report_of_this_process() -> SelfReport:
    own, main = _thread.get_ident(), threading.main_thread().ident
    frames = {ident: frame for ident, frame in sys._current_frames().items() if ident != own}
    threads = [frames_of(frame) for _, frame in sorted(frames.items(), key=lambda item: item[0] != main)]
    waits = [frame.f_locals for thread in threads for frame in thread if Frame.of(frame).is_distributed]
    timeouts = [wait["timeout"] for wait in waits if isinstance(wait.get("timeout"), timedelta)]
    world_sizes = [wait["world_size"] for wait in waits if isinstance(wait.get("world_size"), int)]
    return SelfReport(
        threads=tuple(tuple(map(Frame.of, thread)) for thread in threads),
        waits=tuple(wait_of(thread[0]) for thread in threads),
        handled=handled_by(main),
        timeouts=(*(timeout.total_seconds() for timeout in timeouts), *_group_timeouts()),
        world_sizes=tuple(world_sizes),
        flight=flight_dump(),
        at_ns=time.time_ns(),
    )


def _group_timeouts() -> list[float]:
    """Return the time-outs of the process groups in seconds; 0 for one that is not known."""
    groups: Mapping[dist.ProcessGroup, object] = dist.distributed_c10d._world.pg_map
    return [_timeout_of(group) for group in groups]


def _timeout_of(group: dist.ProcessGroup) -> float:
    try:
        devices = group._device_types
        timeouts: list[timedelta] = [group._get_backend(device).options._timeout for device in devices]
        return min(timeout.total_seconds() for timeout in timeouts)
    except (AttributeError, RuntimeError, ValueError):
        return 0.0


def flight_dump() -> str:
    """Dump torch's Flight Recorder as JSON; empty where this torch has none, or no process group was made."""
    dump = getattr(sys.modules.get("torch._C._distributed_c10d"), "_dump_fr_trace_json", None)
    return dump(True, False).decode() if dump is not None else ""
