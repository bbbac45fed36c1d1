"""The mutations that are known to change no behaviour."""

from __future__ import annotations

import json
from pathlib import Path

_FILE = Path(__file__).with_name("equivalent.json")


def read_equivalent() -> dict[str, str]:
    """Key of a mutation (see `Mutation.key`) -> why it changes nothing."""
    found: dict[str, str] = json.loads(_FILE.read_text("utf-8"))
    return found
