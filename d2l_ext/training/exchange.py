"""Parameters of models that D2L's own packages trained.

The names of `d2l.torch` are the canonical ones. Those of `d2l.mxnet` follow from them by rule, and
the layout is the same: Gluon's recurrent layers have PyTorch's two biases and order of gates. Its
`.params` files are read here byte by byte, so that MXNet need not be installed.
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays, Model
from d2l_ext.training.checkpoint import CheckpointError

_RULES = (
    # Names of a Gluon layer in files and in memory, and which group is the layer, the direction,
    # input or hidden, and the kind.
    (r"_unfused\.(\d+)\.(?:([lr])_cell\.)?([ih])2h_(weight|bias)$", (1, 2, 3, 4)),
    (r"\b([lr])(\d+)_([ih])2h_(weight|bias)$", (2, 1, 3, 4)),
)
_DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
_LIST_MAGIC, _ARRAY_MAGICS = 0x112, (0xF993FAC9, 0xF993FACA)


def load_d2l(model: Model, source: Mapping[str, Any] | str | Path) -> None:
    """Give a model the parameters of one of D2L's.

    Args:
        model: a `Model` of the same classes and sizes.
        source: a state dict of `d2l.torch` (any mapping of names to arrays), or the path of a file
            that `save_parameters` of `d2l.mxnet` wrote.

    Raises:
        CheckpointError: the file is no such file, or is damaged.
        ValueError: a name is missing or unknown, or a shape is wrong; nothing is changed.
    """
    named = source if isinstance(source, Mapping) else read_params(source)
    model.load_parameters({canonical_name(name): x for name, x in named.items()})


def canonical_name(name: str) -> str:
    """Return the canonical name of a parameter of `d2l.torch` or `d2l.mxnet`."""
    for pattern, (layer, direction, gates, kind) in _RULES:
        match = re.search(pattern, name)
        if match:
            reverse = "_reverse" if match[direction] == "r" else ""
            new = f"{match[kind]}_{match[gates]}h_l{match[layer]}{reverse}"
            return name[: match.start()] + new
    name = re.sub(r"\bblks\.(\d+)\.", r"blks.block\1.", name)
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def read_params(path: str | Path) -> Arrays:
    """Read a `.params` file of MXNet; returns ``{name: array}``.

    The file is a list of arrays (each: magic number, storage type, shape, device, dtype, values)
    and a list of names, all little-endian.
    """
    try:
        reader = _Reader(Path(path).read_bytes())
        return _named_arrays(reader)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, struct.error) as error:
        raise CheckpointError(f"{path}: is no .params file, or is damaged: {error}") from error


def _named_arrays(reader: "_Reader") -> Arrays:
    magic, _, count = reader.numbers("<3Q")
    if magic != _LIST_MAGIC:
        raise ValueError(f"it starts with {magic:#x}")
    arrays = [_array(reader) for _ in range(reader.bounded(count))]
    (count,) = reader.numbers("<Q")
    names = [reader.bytes(*reader.numbers("<Q")).decode() for _ in range(reader.bounded(count))]
    if len(names) != len(arrays) or not reader.is_at_end:
        raise ValueError(f"it has {len(names)} names for {len(arrays)} arrays, or bytes after them")
    # Module.save_checkpoint writes "arg:" before the names of arguments.
    return {name.removeprefix("arg:"): x for name, x in zip(names, arrays, strict=True)}


def _array(reader: "_Reader") -> np.ndarray:
    magic, storage, axes = reader.numbers("<IiI")
    if magic not in _ARRAY_MAGICS or storage != 0 or axes > 8:
        raise ValueError("it has an array that is not dense, or of another version")
    shape = reader.numbers(f"<{axes}q")
    _, _, dtype = reader.numbers("<3i")  # device type and number do not matter
    if not 0 <= dtype < len(_DTYPES) or min(shape, default=1) < 0:
        raise ValueError(f"it has an array of shape {shape} and dtype number {dtype}")
    dtype = np.dtype(_DTYPES[dtype])
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    return np.frombuffer(reader.bytes(size), dtype).reshape(shape)


class _Reader:
    """Takes bytes from the front; asking for more than there are is a ValueError."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def bytes(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise ValueError("it is truncated")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))

    def bounded(self, count: int) -> int:
        """Return a count of things that take at least 8 bytes each."""
        if count > len(self._data) // 8:
            raise ValueError("it is truncated")
        return count
