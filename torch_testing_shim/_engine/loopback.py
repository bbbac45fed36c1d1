"""Makes ranks of one machine listen on its loopback interface alone.

Unless a variable names an interface, gloo and TensorPipe take the address of the host name, which other machines may
reach, and which this machine may not even have. The variable is set where C++ reads it and not in `os.environ`: tests
find the environment as it was, and what they set there counts.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress

#: Variables that name the interface on which gloo and TensorPipe listen.
_INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
#: Variables that a launcher (torchrun) sets for each rank. Its ranks may be on several machines, unless they meet at an
#: address that only one machine can reach. Many scripts set both variables by themselves.
_LAUNCHED, _MEETING_ADDRESS, _OF_ONE_MACHINE = "RANK", "MASTER_ADDR", ("localhost", "127.0.0.1", "::1")
#: Linux's request for an interface's flags, the layout of its answer, and two of the flags.
_SIOCGIFFLAGS, _IFREQ, _IFF_UP, _IFF_LOOPBACK = 0x8913, "16sH14x", 0x1, 0x8


def listen_on_loopback(environment: Mapping[str, str]) -> None:
    """Make everything that this process, a rank, starts from now on listen on the loopback interface, unless the
    environment names another or a launcher has started the test process."""
    is_launched = _LAUNCHED in environment and environment.get(_MEETING_ADDRESS) not in _OF_ONE_MACHINE
    wanted = [] if is_launched else [name for name in _INTERFACE_VARIABLES if not environment.get(name)]
    if wanted and (interface := loopback_interface()) is not None:
        for name in wanted:
            os.putenv(name, interface)


@functools.cache
def loopback_interface() -> str | None:
    """Return the name of the loopback interface, usually "lo"; None where none is up, or where the system is not
    Linux."""
    if sys.platform != "linux":
        return None
    import fcntl

    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack(_IFREQ, name.encode(), 0)
            _, flags = struct.unpack(_IFREQ, fcntl.ioctl(asked, _SIOCGIFFLAGS, request))
            if flags & _IFF_UP and flags & _IFF_LOOPBACK:
                return name
    return None
