"""What the runner and the warm interpreter say to each other. Standard library only: the runner imports it.

Requests and events are packets of JSON. What may be long, a file's order with its whole environment, lies in a file
that a request names.

    {"id": 1, "order": "/scratch/1/order.json"} + the descriptor that the file prints to
    {"event": "ready", "devices": 0}
    {"event": "started", "id": 1, "pid": 4711}
    {"event": "refused", "id": 1, "reason": "..."}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch_testing_shim._shared.main_part import BY_PYTEST, PACKAGE

__all__ = ["EMPTY_MARK", "MARK_VARIABLE", "PACKET_BYTES", "WarmOrder"]

#: The longest packet.
PACKET_BYTES = 1 << 14

#: Set in a test file's environment to a value that no other file of this or another run has: it marks the file's
#: processes. Nothing reads it but the runner, which looks for it in the environments of all processes.
MARK_VARIABLE = "TORCH_TESTING_SHIM_RUNNER_MARK"
#: The interpreter's own mark. It is as long as every other, so that a fork can write its own over it.
EMPTY_MARK = "0" * 32


@dataclass(frozen=True)
class WarmOrder:
    """What one fork is to become.

    Attributes:
        interpreter: the interpreter that a developer would type, with its own options.
        path: the test file, absolute.
        arguments: its command line, without the path.
        environment: the whole environment, MARK_VARIABLE included.
        harness: None for `python FILE`; for `python -m torch_testing_shim OPTION ... FILE`, the options before FILE.
        nodes: what stands in FILE's place where pytest runs a part of it.
    """

    interpreter: tuple[str, ...]
    path: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    harness: tuple[str, ...] | None = None
    nodes: tuple[str, ...] = ()

    @property
    def is_by_pytest(self) -> bool:
        """pytest runs the file's tests."""
        return BY_PYTEST in (self.harness or ())

    @property
    def argv(self) -> list[str]:
        """The command line behind the interpreter."""
        module = [] if self.harness is None else ["-m", PACKAGE, *self.harness]
        return [*module, *(self.nodes or (self.path,)), *self.arguments]

    def write(self, path: Path) -> None:
        """Writes the order to `path`.

        Raises:
            OSError: it cannot be written.
        """
        path.write_text(json.dumps(asdict(self)), encoding="ascii")

    @classmethod
    def read(cls, path: str) -> WarmOrder:
        """Reads an order.

        Raises:
            OSError: it cannot be read.
        """
        with open(path, encoding="ascii") as stream:
            fields = json.load(stream)
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists})
