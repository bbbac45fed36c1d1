"""Keeps compiled grafts in the user's cache folder, so that a graft costs what an import costs.

There is one file for each module, in a folder for the versions of torch and Python. A file is used if it was made from
a source of the same path, time and size, by the present code. It is an atomic write, so several processes may do it at
once; where it cannot be written, nothing is kept.
"""

from __future__ import annotations

import functools
import marshal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType

import torch

from torch_testing_shim._shared.atomic_write import write_whole
from torch_testing_shim._shared.settings import read_cache_folder
from torch_testing_shim._upstream import driver_questions, rewriting, statements
from torch_testing_shim._upstream.modules import DYNAMO_CASES, SERVED_DYNAMO_CASES
from torch_testing_shim._upstream.statements import Statement, read_statements, whole_code


def module_code(below: str, source: Path) -> CodeType:
    """Return the code of `torch.testing._internal.<below>` as a whole."""
    package = DYNAMO_CASES.rpartition(".")[0] if below == SERVED_DYNAMO_CASES else ""
    kept = _kept(below, "whole", source, lambda text: marshal.dumps(whole_code(text, str(source), package)))
    code: CodeType = marshal.loads(kept)
    return code


def module_statements(below: str, source: Path) -> list[Statement]:
    """Return the statements of `torch.testing._internal.<below>`."""

    def make(text: str) -> bytes:
        return marshal.dumps([(s.binds, s.changes, s.uses, s.code) for s in read_statements(text, str(source))])

    return [Statement(*each) for each in marshal.loads(_kept(below, "statements", source, make))]


def _kept(below: str, form: str, source: Path, make: Callable[[str], bytes]) -> bytes:
    folder = _folder()
    stamp = (*_stamp(source), *_code_stamp())
    path = folder / f"{below or 'package'}.{form}" if folder is not None else None
    if path is not None:
        with suppress(OSError, EOFError, ValueError, TypeError):  # missing, or cut short
            found, content = marshal.loads(path.read_bytes())
            if found == stamp and isinstance(content, bytes):
                return content
    content = make(source.read_text(encoding="utf-8"))
    if path is not None:
        with suppress(OSError):  # the disk is full, or the folder belongs to another user
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, [marshal.dumps((stamp, content))])
    return content


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size


@functools.cache
def _code_stamp() -> tuple[str | int, ...]:
    """Return a stamp of the code that makes the files, in place of this package's version."""
    modules = (statements, rewriting, driver_questions)
    return tuple(part for module in modules for part in _stamp(Path(str(module.__file__))))


def _folder() -> Path | None:
    caches = read_cache_folder()
    versions = f"torch-{torch.__version__}-{sys.implementation.cache_tag}"
    return Path(caches, "torch_testing_shim", "grafts", versions) if caches is not None else None
