"""Hosts on this machine: network namespaces, each with a cable to one switch and a host name of its own.

A sample enters its host by `ENTER`, or is started by the words of `command`. Made as root alone, by Debian's iproute2.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

#: Python code by which a process enters the host that its environment names.
ENTER = """
import ctypes, os, socket

_system = ctypes.CDLL(None, use_errno=True)
with open(os.environ["HOST_NAMESPACE"]) as _namespace:
    assert _system.setns(_namespace.fileno(), 0x40000000) == 0, "CLONE_NEWNET"
assert _system.unshare(0x04000000) == 0, "CLONE_NEWUTS"
socket.sethostname(os.environ["HOST_NAME"])
"""
#: Delays that `slow_down` adds to a cable, as the words of `tc`: 1 Mbit/s, or 50 ms and a lost packet in a hundred.
NARROW = ("tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms")
LOSSY = ("netem", "delay", "50ms", "loss", "1%")


@functools.cache
def reason_not_to_make() -> str | None:
    """Why hosts cannot be made here; None where they can."""
    if os.geteuid():
        return "network namespaces are made by root alone"
    if shutil.which("ip") is None:
        return "needs ip (Debian's iproute2)"
    try:
        with Hosts(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"no host can be made here: {' '.join(error.cmd)}: {error.stderr.decode().strip()}"


class Hosts:
    """The hosts host1, host2 and so on, numbered from 0, while it is entered as a context."""

    def __init__(self, count: int) -> None:
        name = f"tts{uuid.uuid4().hex[:8]}"
        self._switch = f"{name}-0"
        self._names = [f"{name}-{number}" for number in range(1, count + 1)]

    def __enter__(self) -> Hosts:
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "name", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for number, name in enumerate(self._names):
            _ip("netns", "add", name)
            far = f"port{number}"
            cable = ["link", "add", "name", "cable", "type", "veth", "peer", "name", far, "netns", self._switch]
            _ip("-n", name, *cable)
            _ip("-n", self._switch, "link", "set", far, "master", "switch", "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "cable")
            for device in ("cable", "lo"):
                _ip("-n", name, "link", "set", device, "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in (*self._names, self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def __len__(self) -> int:
        return len(self._names)

    def address(self, number: int) -> str:
        return f"10.77.0.{number + 1}"

    def environment(self, number: int) -> dict[str, str]:
        """The variables by which a process enters a host, and listens there."""
        return {
            "HOST_NAMESPACE": f"/run/netns/{self._names[number]}",
            "HOST_NAME": f"host{number + 1}",
            "GLOO_SOCKET_IFNAME": "cable",
        }

    def command(self, number: int, words: Sequence[str], name: str = "", known: Path | None = None) -> list[str]:
        """The words that run a command on a host.

        Args:
            name: the host's name, if not `host1` and so on.
            known: the file that the command finds at /etc/hosts; by default this machine's.
        """
        enter = ["ip", "netns", "exec", self._names[number], "unshare", "--uts", "sh", "-c"]
        mount = f"mount --bind {shlex.quote(str(known))} /etc/hosts && " if known else ""  # ip unshares mounts
        return [*enter, f'{mount}hostname "$0" && exec "$@"', name or f"host{number + 1}", *words]

    def cut(self, number: int) -> None:
        """Take a host's cable away."""
        _ip("-n", self._names[number], "link", "set", "cable", "down")

    def slow_down(self, number: int, how: Sequence[str]) -> str:
        """Slow a host's cable down, in both directions. Return why the kernel cannot; an empty text where it can."""
        for name, device in ((self._names[number], "cable"), (self._switch, f"port{number}")):
            words = ["tc", "-n", name, "qdisc", "add", "dev", device, "root", *how]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                return f"this kernel cannot slow a link down by {how[0]}: {done.stderr.strip()}"
        return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
