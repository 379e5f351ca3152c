"""Tensors of safetensors files, with all dtypes that models come in, and files to the bit.

NumPy has no bfloat16: it is read as float32, which holds all of it.
"""

import json
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, deserialize

DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}  # in bytes
HEADER = struct.Struct("<Q")  # the length of the text before the tensors


class Tensor(NamedTuple):
    """What a file has of a tensor; its kind is the dtype, as safetensors calls it."""

    kind: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def array(self) -> np.ndarray:
        """Its values, of a floating dtype."""
        if self.kind == "BF16":
            bits = np.frombuffer(self.data, "<u2").astype(np.uint32) << 16
            return bits.view(np.float32).reshape(self.shape)
        return np.frombuffer(self.data, DTYPES[self.kind]).reshape(self.shape)

    @classmethod
    def of(cls, x: np.ndarray, dtype: str) -> "Tensor":
        """Give an array the dtype of a file."""
        values = np.ascontiguousarray(x, DTYPES.get(dtype, np.float32))
        if dtype == "BF16":  # to the nearest, ties to even
            bits = values.view(np.uint32)
            values = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        return cls(dtype, x.shape, values.tobytes())


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        found = deserialize(file.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{file}: {error}") from error
    return {
        name: Tensor(x["dtype"], tuple(x["shape"]), bytes(x["data"]))
        for name, x in found
        if x["dtype"] in SIZES  # not the causal masks of old files
    }


def formatted(tensors: dict[str, Tensor]) -> bytes:
    """Return a safetensors file: its tensors by size of their numbers, then by name."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data, start = [], 0
    for name in sorted(tensors, key=lambda name: (-SIZES[tensors[name].kind], name)):
        dtype, shape, content = tensors[name]
        end = start + len(content)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        data.append(content)
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return b"".join((HEADER.pack(len(text)), text, *data))
