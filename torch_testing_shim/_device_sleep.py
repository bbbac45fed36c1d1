"""How long the device's spin loop takes: tests keep a stream busy with it."""

from __future__ import annotations

import functools
import statistics
import time

import torch

__all__ = ["get_cycles_per_ms"]

CYCLES = 1_000_000
MEASUREMENTS = 10
#: How many of the fastest and of the slowest measurements do not count: the first ones pay for what torch sets up.
OUTLIERS = 2


@functools.cache
def get_cycles_per_ms(device: str = "cuda") -> float:
    """Cycles per millisecond of the device's `_sleep`, measured once (upstream: `get_cycles_per_ms`, torch 2.13).

    Args:
        device: device type; "cpu" measures an empty Python loop.
    """
    measure = _milliseconds_on_cpu if device == "cpu" else functools.partial(_milliseconds_on_device, device)
    rates = sorted(CYCLES / measure() for _ in range(MEASUREMENTS))
    return statistics.mean(rates[OUTLIERS:-OUTLIERS])


def _milliseconds_on_cpu() -> float:
    start = time.perf_counter()
    for _ in range(CYCLES):
        pass
    return (time.perf_counter() - start) * 1000


def _milliseconds_on_device(device: str) -> float:
    module = torch.get_device_module(device)
    start, end = (module.Event(enable_timing=True) for _ in range(2))
    start.record()
    module._sleep(CYCLES)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))
