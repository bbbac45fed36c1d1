"""Holds the table of upstream's names, and this package's signatures, against the torch that is installed.

    python test/conformance/compare_surface.py

It prints each name whose signature in `torch.testing._internal` differs from the table's (`surface_table.py`),
or that is not there any more. Exit status: 0 where nothing differs, 1 otherwise.
"""

from __future__ import annotations

import importlib
import sys
import warnings

from surface_table import SURFACE, signature


def upstream_signature(module: str, name: str) -> str | None:
    """Its signature in the installed torch; None where it is not there, or the module cannot be imported."""
    try:
        named = getattr(importlib.import_module(f"torch.testing._internal.{module}"), name)
    except (ImportError, AttributeError):
        return None
    return signature(named)


def differences() -> list[str]:
    """One line for each name of the table with a signature that the installed torch has otherwise."""
    lines = []
    for module, names in SURFACE.items():
        for name, expected in names.items():
            if expected is not None and (found := upstream_signature(module, name)) != expected:
                lines.append(f"{module}.{name}: {found or 'not there'}, in the table {expected}")
    return lines


def main() -> int:
    warnings.simplefilter("ignore")  # upstream's own deprecations
    import torch

    lines = differences()
    count = sum(expected is not None for names in SURFACE.values() for expected in names.values())
    print(*lines, f"torch {torch.__version__}: {len(lines)} of {count} signatures differ from the table", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
