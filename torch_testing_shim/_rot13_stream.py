"""A transform of a distributed checkpoint's streams that can be seen in the file: small letters become capitals.

Upstream calls it Rot13Example; what it does is swap the case of ASCII letters, which is its own inverse.
"""

from __future__ import annotations

import io
import string
from typing import IO, Any, cast

from torch.distributed.checkpoint._extension import ExtensionRegistry, StreamTransformExtension

__all__ = ["Rot13Example", "get_test_extension_registry"]

NAME, VERSION = "stream.rot13", "1"

_SWAPPED = bytes.maketrans(string.ascii_letters.encode(), string.ascii_letters.swapcase().encode())


class Rot13Example(StreamTransformExtension):
    """Swaps the case of letters, on the way into a checkpoint and out of it (upstream's `Rot13Example`, torch 2.13).

    Args:
        chunk_size: not used; upstream has it.
    """

    def __init__(self, chunk_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        super().__init__()
        self._chunk_size = chunk_size

    @classmethod
    def from_descriptor(cls, version: str) -> Rot13Example:
        """The extension of a version that a checkpoint names.

        Raises:
            ValueError: it is not version 1.
        """
        if version.split(".")[0] != VERSION:
            raise ValueError(f"{NAME} is known in version {VERSION}, not {version}")
        return cls()

    @staticmethod
    def registry_name() -> str:
        return NAME

    def get_descriptor(self) -> str:
        return f"{NAME}/{VERSION}"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Writer(output))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input))


class _Writer(io.RawIOBase):
    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._output.write(bytes(data).translate(_SWAPPED))

    def flush(self) -> None:
        self._output.flush()


class _Reader(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer)).translate(_SWAPPED)
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return self._source.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()


def get_test_extension_registry() -> ExtensionRegistry:
    """A registry of extensions that knows `Rot13Example` (upstream's name, torch 2.13)."""
    registry = ExtensionRegistry()
    registry.register(Rot13Example)
    return registry
