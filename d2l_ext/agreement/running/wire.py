"""Messages between processes: nested values with NumPy arrays, as JSON and raw bytes.

No pickle: the other side may be another interpreter with another NumPy, or have gone mad.
"""

import json
import struct
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

MAGIC = b"d2l_ext\2"
HEADER = struct.Struct("<8sQ")  # magic, length of the JSON; the arrays' bytes are what follows it
# The connection sends a message's length before it. Four letters that somebody prints there instead
# are a length beyond this.
LONGEST = 1 << 29


class GarbageError(Exception):
    """What was read is no message."""


def send(connection: Connection, value: Any) -> None:
    """Send a value through a `multiprocessing.connection.Connection`."""
    connection.send_bytes(encode(value))


def receive(connection: Connection) -> Any:
    """Wait for a value and return it.

    Raises:
        GarbageError: it is no message.
        EOFError, OSError: the other side is gone.
    """
    try:
        message = connection.recv_bytes(LONGEST)
    except OSError as error:
        if connection.closed:  # which it does itself when the length cannot be
            raise GarbageError(f"no length up to {LONGEST}") from error
        raise
    return decode(message)


def encode(value: Any) -> bytes:
    """Return a message as bytes: None, bool, numbers, strings, lists, tuples, dicts, arrays."""
    arrays = []
    text = json.dumps(_plain(value, arrays)).encode()
    data = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    return HEADER.pack(MAGIC, len(text)) + text + data


def decode(message: bytes) -> Any:
    """Return the value of a message's bytes.

    Raises:
        GarbageError: they are no message.
    """
    try:
        magic, length = HEADER.unpack(message[: HEADER.size])
        if magic != MAGIC:
            raise GarbageError(f"{message[:8]!r} is not the start of a message")
        text, data = message[HEADER.size :][:length], memoryview(message)[HEADER.size + length :]
        return _value(json.loads(text), data)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise GarbageError(f"not a message: {error}") from error


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        offset = sum(a.nbytes for a in arrays)
        arrays.append(value)
        return {"array": [value.dtype.str, list(value.shape), offset]}
    if isinstance(value, dict):
        return {"dict": [[key, _plain(v, arrays)] for key, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, arrays) for v in value]}
    if isinstance(value, list):
        return [_plain(v, arrays) for v in value]
    return value


def _value(plain: Any, data: memoryview) -> Any:
    if isinstance(plain, list):
        return [_value(v, data) for v in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = plain.items()
    if kind == "dict":
        return {key: _value(v, data) for key, v in content}
    if kind == "tuple":
        return tuple(_value(v, data) for v in content)
    dtype, shape, offset = content
    count = int(np.prod(shape))
    return np.frombuffer(data, np.dtype(dtype), count, offset).reshape(shape).copy()
