"""Python's last collections, when a process ends."""

from __future__ import annotations

import gc


def settle_last_collection() -> None:
    """Skip Python's last collection, which takes as long as a small test; the memory goes with the process. Not where
    nanobind is loaded (triton's, from torch 2.15 on): it would list all that is not collected as leaked."""
    has_nanobind = any(kind.__name__.startswith("nb_type") for kind in type.__subclasses__(type))
    if has_nanobind:
        gc.unfreeze()
    else:
        gc.freeze()
