"""The safetensors format, read and written from its description alone: a length, a JSON header of that length, data.

Torch's and safetensors' own code is under test, so it has no part in what their files are compared with.
"""

import importlib.util
import inspect
import json
import struct
import unittest
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from exact_values import bits

__all__ = ["DTYPE_NAMES", "INDEX", "Entry", "needs_huggingface", "read_file", "read_index", "write_file"]

#: The name of the file that says in which file each tensor lies.
INDEX = "model.safetensors.index.json"

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file.

    Attributes:
        dtype: the format's name of its dtype.
        shape: of the tensor, or of the part of it that the file holds.
        data: its bytes.
        offsets: where that part starts in the whole tensor; None where the file does not say.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    offsets: tuple[int, ...] | None = None

    @classmethod
    def of(cls, tensor: torch.Tensor, offsets: tuple[int, ...] | None = None) -> "Entry":
        return cls(DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), bits(tensor), offsets)


def read_file(path: Path) -> dict[str, Entry]:
    """Return the tensors of a file by name.

    Raises:
        AssertionError: the data of the tensors leaves a gap, overlaps, or does not end where the file does.
    """
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    sharding = json.loads(header.pop("__metadata__", {}).get("DCP_SHARDING_INFO", "{}"))
    entries, ends = {}, [0]
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        assert start == ends[-1] <= end, f"{path.name}: {name} starts at {start}, expected {ends[-1]}"
        ends.append(end)
        offsets = tuple(sharding[name]["saved_offsets"]) if name in sharding else None
        entries[name] = Entry(entry["dtype"], tuple(entry["shape"]), data[start:end], offsets)
    assert ends[-1] == len(data), f"{path.name}: {len(data)} bytes of data, expected {ends[-1]}"
    return entries


def write_file(path: Path, entries: dict[str, Entry]) -> None:
    """Write tensors to a file, with the places of parts as torch's distributed checkpoints note them."""
    header: dict[str, object] = {}
    sharding = {name: {"saved_offsets": entry.offsets} for name, entry in entries.items() if entry.offsets is not None}
    if sharding:
        header["__metadata__"] = {"format": "pt", "DCP_SHARDING_INFO": json.dumps(sharding), "DCP_VERSION": "1.0"}
    at = 0
    for name, entry in entries.items():
        end = at + len(entry.data)
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(entry.data for entry in entries.values()))


def read_index(folder: Path) -> tuple[dict[str, str], int]:
    """Return the file of each tensor, and the size of all in bytes, as the folder's index says."""
    index = json.loads((folder / INDEX).read_text())
    return index["weight_map"], index["metadata"]["total_size"]


def _missing() -> str | None:
    if importlib.util.find_spec("safetensors") is None:
        return "needs the package safetensors: pip install 'torch-testing-shim[checkpoint]'"
    writer = getattr(dcp, "HuggingFaceStorageWriter", None)
    if writer is None:
        return "this torch has no HuggingFaceStorageWriter"
    if "enable_consolidation" not in inspect.signature(writer).parameters:
        return "this torch's HuggingFaceStorageWriter does not consolidate"
    return None


#: Skips a test, or a class of tests, of torch's HuggingFace reader and writer where they are not to be had.
needs_huggingface = unittest.skipIf(_missing() is not None, str(_missing()))
