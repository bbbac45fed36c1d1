"""State that tests leave in the process, as the system sees it."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress

from left_state import LeftState, LeftStateTestCase, with_tests

from torch_testing_shim.common_utils import run_tests


def umask() -> int:
    os.umask(found := os.umask(0o077))
    return found


def forever() -> None:
    time.sleep(3600)


def start_child(is_apart: bool) -> subprocess.Popen:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    return subprocess.Popen(command, start_new_session=is_apart)


def start_zombie() -> None:
    if not os.fork():
        os._exit(0)


def children() -> int:
    with open("/proc/thread-self/children") as found:
        return len(found.read().split())


def fork_apart() -> None:
    """Leave a child that has left the family and holds the rank's output open."""
    if not os.fork():
        os.setsid()
        time.sleep(3600)


def redirect_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def change_variable_of_c() -> None:
    """Changes what children and C libraries see, not `os.environ`."""
    os.putenv("LEFT_BY_A_TEST", "1")


def variable_of_c() -> bytes:
    return subprocess.run(["printenv", "LEFT_BY_A_TEST"], stdout=subprocess.PIPE, check=False).stdout


def descriptors_on(path: str) -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}") == path
    return found


class Unreachable:
    """In a cycle: what acts is its end, when nobody expects it."""

    def __init__(self, act) -> None:
        self.act, self.itself = act, self

    def __del__(self) -> None:
        self.act()


PRCTL = ctypes.CDLL(None).prctl
NO_NEW_PRIVILEGES = 38  # of prctl


class ProcessLeft(LeftStateTestCase):
    states = (
        LeftState(
            "working folder that is removed",
            lambda _: (os.chdir(tempfile.mkdtemp()), os.rmdir(os.getcwd())),
            lambda _: os.path.exists("/proc/self/cwd/."),
        ),
        LeftState("variable that only C sees", lambda _: change_variable_of_c(), lambda _: variable_of_c()),
        LeftState(
            "TMPDIR",
            lambda _: os.environ.update(TMPDIR="/"),
            lambda _: os.environ["TMPDIR"] == tempfile.gettempdir() != "/",
        ),
        LeftState(
            "file in TMPDIR",
            lambda test: os.mkdir(f"{tempfile.gettempdir()}/of-{test.rank}-"),  # the ranks of a test share the folder
            lambda test: any(f"of-{test.rank}-" in name for name in os.listdir(tempfile.gettempdir())),
        ),
        LeftState(
            "signal ignored",
            lambda _: signal.signal(signal.SIGTERM, signal.SIG_IGN),
            lambda _: signal.getsignal(signal.SIGTERM),
        ),
        LeftState(
            "signal of Ctrl-C",
            lambda _: signal.signal(signal.SIGINT, signal.SIG_DFL),
            lambda _: signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        ),
        LeftState(
            "timer of processor time",
            lambda _: signal.setitimer(signal.ITIMER_PROF, 600),
            lambda _: signal.getitimer(signal.ITIMER_PROF)[0] > 0,
        ),
        LeftState(
            "no new privileges",
            lambda _: PRCTL(NO_NEW_PRIVILEGES, 1, 0, 0, 0),
            lambda _: PRCTL(NO_NEW_PRIVILEGES + 1, 0, 0, 0, 0),
            replaced="PR_NO_NEW_PRIVS",
        ),
        LeftState("priority", lambda _: os.nice(1), lambda _: os.getpriority(os.PRIO_PROCESS, 0)),
        LeftState("child", lambda _: start_child(False), lambda _: children()),
        LeftState("child in a session of its own", lambda _: start_child(True), lambda _: children()),
        LeftState("ended child", lambda _: start_zombie(), lambda _: children()),
        LeftState("forked child", lambda _: fork_apart(), lambda _: children()),
        LeftState(
            "thread",
            lambda _: threading.Thread(target=forever, name="left by a test", daemon=True).start(),
            lambda _: [thread.name for thread in threading.enumerate()],
            replaced="left by a test",
        ),
        LeftState(
            "timer that acts later",
            lambda _: threading.Timer(0.2, os.environ.update, kwargs={"LEFT_BY_A_TIMER": "1"}).start(),
            lambda _: (time.sleep(0.4), os.environ.get("LEFT_BY_A_TIMER"))[1],
            replaced="thread",
        ),
        LeftState(
            "descriptor", lambda _: os.open("/", os.O_RDONLY), lambda _: descriptors_on("/"), replaced="/ is open"
        ),
        LeftState(
            "output elsewhere", lambda _: redirect_output(), lambda _: os.readlink("/proc/self/fd/1") == os.devnull
        ),
        LeftState("output closed", lambda _: os.close(1), lambda _: os.path.exists("/proc/self/fd/1")),
        LeftState("sys stdout closed", lambda _: sys.stdout.close(), lambda _: sys.stdout.closed),
        LeftState("sys stderr replaced", lambda _: setattr(sys, "stderr", None), lambda _: sys.stderr is None),
        LeftState("input", lambda _: os.close(0), lambda _: os.path.exists("/proc/self/fd/0")),
        LeftState(
            "finalizer that changes the umask", lambda _: Unreachable(lambda: os.umask(0o177)), lambda _: umask()
        ),
    )


with_tests(ProcessLeft)

if __name__ == "__main__":
    run_tests()
