"""Types of the options that the benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from torch_testing_shim._shared.values import as_argument, whole_number

as_count = as_argument(whole_number(1))


def as_json_file(text: str) -> Path:
    """A file that can be written in the end: its folder is there."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.absolute().parent}")
    return path
