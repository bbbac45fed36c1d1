"""Two hosts on this machine: network namespaces with a cable between them, and a host name each.

A sample enters its host by `ENTER`, or is started by the words of `command`. Made as root alone, by Debian's iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
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


def reason_not_to_make() -> str | None:
    """Why two hosts cannot be made here; None where they can."""
    if os.geteuid():
        return "network namespaces are made by root alone"
    if shutil.which("ip") is None:
        return "needs ip (Debian's iproute2)"
    name = f"tts{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces cannot be made here"
    link = subprocess.run(
        ["ip", "-n", name, "link", "add", "name", "cable", "type", "veth", "peer", "name", "other"], capture_output=True
    )
    subprocess.run(["ip", "netns", "del", name], check=True)
    return "virtual cables (veth) cannot be made here" if link.returncode else None


class TwoHosts:
    """The hosts host1 and host2, numbered 0 and 1, while it is entered as a context."""

    def __init__(self) -> None:
        self._names = [f"tts{os.getpid()}-{number}" for number in (1, 2)]

    def __enter__(self) -> TwoHosts:
        first, second = self._names
        for name in self._names:
            _ip("netns", "add", name)
        _ip("-n", first, "link", "add", "name", "cable", "type", "veth", "peer", "name", "cable", "netns", second)
        for number, name in enumerate(self._names):
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "cable")
            for device in ("cable", "lo"):
                _ip("-n", name, "link", "set", device, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def address(self, number: int) -> str:
        return f"10.77.0.{number + 1}"

    def environment(self, number: int) -> dict[str, str]:
        """The variables by which a process enters a host, and listens there."""
        return {
            "HOST_NAMESPACE": f"/run/netns/{self._names[number]}",
            "HOST_NAME": f"host{number + 1}",
            "GLOO_SOCKET_IFNAME": "cable",
        }

    def command(self, number: int, words: Sequence[str]) -> list[str]:
        """The words that run a command on a host."""
        enter = ["ip", "netns", "exec", self._names[number], "unshare", "--uts", "sh", "-c"]
        return [*enter, 'hostname "$0"; exec "$@"', f"host{number + 1}", *words]

    def cut(self) -> None:
        """Takes the cable away."""
        _ip("-n", self._names[0], "link", "set", "cable", "down")

    def slow_down(self) -> bool:
        """Lets 1 Mbit/s through in both directions. False where the kernel cannot."""
        rate = ["root", "tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms"]
        words = [["tc", "-n", name, "qdisc", "add", "dev", "cable", *rate] for name in self._names]
        return not any(subprocess.run(each, capture_output=True).returncode for each in words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
