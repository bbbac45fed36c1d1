"""The faults, one module for each theme, in the order of the table; and those of networks, for ranks on hosts."""

from __future__ import annotations

NETWORK = "network"
THEMES = (
    "deaths",
    "exceptions",
    "bodies",
    "collectives",
    "skips",
    "hangs",
    "deadlocks",
    "output",
    "process_state",
    "children",
    "set_up",
    "limits",
)
