"""The faults, one module for each theme, in the order of the table."""

from __future__ import annotations

__all__ = ["THEMES"]

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
