"""A storage named on the command line: looked up, tried once, and written down as a test file of its own.

Ranks find a test class by name in its file, so the class has to be in one.
"""

from __future__ import annotations

import importlib
import keyword
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from torch_testing_shim.conformance._strategies import STRATEGIES

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class CommandError(ValueError):
    """The command line names something that cannot be had; the message is one sentence."""


@dataclass(frozen=True)
class NamedStorage:
    """The module of a writer and a reader, and their names in it."""

    module: str
    writer: str
    reader: str

    @property
    def test_class(self) -> str:
        return f"{self.writer}Conformance"

    @classmethod
    def parse(cls, text: str) -> NamedStorage:
        """Read "my_package:MyWriter,MyReader".

        Raises:
            CommandError: it is written otherwise.
        """
        module, _, names = text.partition(":")
        writer, _, reader = names.partition(",")
        found = (*module.split("."), writer, reader)
        if not all(name.isidentifier() and not keyword.iskeyword(name) for name in found):
            raise CommandError(f"{text!r} does not name a storage: write my_package:MyWriter,MyReader")
        return cls(module, writer, reader)

    def check(self, folder: Path) -> None:
        """Import the module and build both, in a folder that is removed later.

        Raises:
            CommandError: one cannot be had.
        """
        try:
            module = importlib.import_module(self.module)
        except (Exception, SystemExit) as error:
            raise CommandError(f"cannot import {self.module}: {_said(error)}") from error
        for name, kind in ((self.writer, StorageWriter), (self.reader, StorageReader)):
            if (build := getattr(module, name, None)) is None:
                raise CommandError(f"{self.module} has no {name}")
            try:
                made = build(str(folder / "tried"))
            except (Exception, SystemExit) as error:
                raise CommandError(f"cannot build {self.module}.{name} from a path: {_said(error)}") from error
            lacking = [one for one in sorted(kind.__abstractmethods__) if not callable(getattr(made, one, None))]
            if lacking:
                raise CommandError(f"{self.module}.{name} makes no {kind.__name__}: it lacks {', '.join(lacking)}")


def _said(error: BaseException) -> str:
    """Return an exception as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def checked_strategies(names: list[str]) -> list[str]:
    """Return the names of the strategies to leave out: all but `names`, or none where `names` is empty.

    Raises:
        CommandError: a name is not known, or this torch lacks the strategy.
    """
    known = {strategy.name: strategy for strategy in STRATEGIES}
    for name in names:
        if name not in known:
            raise CommandError(f"there is no strategy {name!r}; there are {', '.join(known)}")
        if (missing := known[name].missing) is not None:
            raise CommandError(f"the strategy {name!r} cannot be had: {missing}")
    return [name for name in known if names and name not in names]


def source_of(storage: NamedStorage, selection: str, tests_left_out: list[str], blames_torch: bool) -> str:
    """Return the text of the test file: what the storage's author would write."""
    lines = [
        f"import {storage.module} as storage",
        "from torch_testing_shim.common_utils import run_tests",
        f"from torch_testing_shim.conformance import {selection}, CheckpointConformance",
        "",
        "",
        f"class {storage.test_class}(CheckpointConformance):",
        f"    selection = {selection}",
        f"    blames_torch = {blames_torch}",
        *(f"    {name} = None" for name in tests_left_out),
        "",
        "    def writer(self, path):",
        f"        return storage.{storage.writer}(path)",
        "",
        "    def reader(self, path):",
        f"        return storage.{storage.reader}(path)",
        "",
        "",
        'if __name__ == "__main__":',
        "    run_tests()",
    ]
    return "\n".join(lines) + "\n"
