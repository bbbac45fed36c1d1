"""Atomic writes of files: a reader finds the old content or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, parts: Iterable[str | bytes]) -> None:
    """Write `parts` to `path`, one after the other; text as UTF-8.

    Raises:
        OSError: it cannot be written; the old file is still there, and nothing else is left.
    """
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with open(descriptor, "wb") as stream:
            for part in parts:
                stream.write(part if isinstance(part, bytes) else part.encode(errors="backslashreplace"))
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def make_writable(folder: Path) -> None:
    """Make a folder, and check that files can be written into it.

    Raises:
        OSError: it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
