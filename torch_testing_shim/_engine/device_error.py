"""The error of a device that cannot be used: the wrong choice of it, or a wrong record about it."""

from __future__ import annotations

__all__ = ["DeviceError"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class DeviceError(ValueError):
    """The device that was asked for cannot be used; the message is one sentence."""
