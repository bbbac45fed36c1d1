"""Where torch's own harness lies: the source file of each module. torch is looked for and not imported."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

__all__ = ["DYNAMO_CASES", "SERVED_DYNAMO_CASES", "home_of", "source_file"]

#: A module of torch's outside its harness that defines test cases on it, and the name below this package by which it is
#: served. torch's own imports torch's harness, which starts an accelerator's driver.
DYNAMO_CASES, SERVED_DYNAMO_CASES = "torch._dynamo.test_case", "_upstream.dynamo_test_case"


@functools.cache
def _folder() -> Path | None:
    spec = importlib.util.find_spec("torch")
    locations = spec.submodule_search_locations if spec is not None else None
    return Path(locations[0], "testing", "_internal") if locations else None


def source_file(below: str) -> Path | None:
    """The file of `torch.testing._internal.<below>`, or of dynamo's test cases; None where torch has no such module."""
    folder = _folder()
    if folder is None:
        return None
    if below == SERVED_DYNAMO_CASES:
        return folder.parents[1] / "_dynamo" / "test_case.py"
    place = folder.joinpath(*below.split(".")) if below else folder
    candidates = [place / "__init__.py", *([place.with_name(f"{place.name}.py")] if below else [])]
    return next((path for path in candidates if path.is_file()), None)


def home_of(name: str, besides: str) -> str | None:
    """The one module other than `besides` that defines `name` at its top level: where torch has moved it to. None
    where there is none, or more than one."""
    folder = _folder()
    if folder is None:
        return None
    definition = re.compile(rf"^(?:(?:async )?def|class) {re.escape(name)}\b|^{re.escape(name)}\s*(?::[^=\n]+)?=", re.M)
    found = [path for path in sorted(folder.rglob("*.py")) if definition.search(path.read_text())]
    homes = [".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in found]
    others = [home for home in homes if home != besides]
    return others[0] if len(others) == 1 else None
