"""What a model computes, layer by layer, in a file that is compared with another one.

A trace is a `safetensors` file. It has the inputs and outputs of every call of every layer, the
parameters, and gradients: of each piece between two layers by itself, started from numbers that are
drawn by the place's name (see `backward`). In its metadata, as JSON, are the calls and how far
rounding moves each array: the largest change over some runs in which whatever goes into or comes
out of a layer is moved by a rounding unit. So two machines, two versions or two frameworks can be
compared of which only one is here.

The arrays are written one after the other while the model runs, and only one is held at a time.
"""

import dataclasses
import json
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from d2l_ext import randomness
from d2l_ext.agreement.judging.error import error
from d2l_ext.files import replacing
from d2l_ext.interface import Arrays
from d2l_ext.porting.arrays import largest_error
from d2l_ext.porting.probe import Layer, Visitor
from d2l_ext.porting.rails import Call, Noise, Rails, Recorder, Side, Spot, noise_of

FORMAT, VERSION = "d2l_ext trace", "1"
DRAWS = 3
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def trace(
    model: Any,
    *inputs: Any,
    path: str | Path,
    options: dict[str, Any] | None = None,
    backward: bool = True,
) -> None:
    """Write what a model computes to a file.

    Args:
        model: as of `locate`.
        *inputs: NumPy arrays.
        path: of the file; it is whole or not there.
        options: keyword arguments of the model's call.
        backward: whether to write gradients, too.

    Raises:
        OSError: that of the system, with the file's name.
        TypeError: a model of no known framework.
    """
    side = Side(model, inputs, options)
    with tempfile.TemporaryFile(dir=_folder(path)) as spool:
        writer = _Writer(spool)
        side.run(_Tracer(writer))
        for name, x in side.parameters.items():
            writer.add(f"parameters.{name}", x)
        content = {"calls": [_described(call) for call in side.calls], "rounding": _rounding(side)}
        content["gradients"] = _write_gradients(side, writer) if backward else {}
        writer.finish(Path(path), content)


def _folder(path: str | Path) -> Path:
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Writer:
    """Collects arrays in a file, and makes a safetensors file of it."""

    def __init__(self, spool: IO[bytes]):
        self._spool = spool
        self._header: dict[str, Any] = {}

    def add(self, name: str, x: np.ndarray) -> None:
        """Append an array."""
        if x.dtype.name not in DTYPES:
            x = x.astype("float64" if x.dtype.kind == "f" else "int64")
        begin = self._spool.tell()
        self._spool.write(np.ascontiguousarray(x).tobytes())
        self._header[name] = {
            "dtype": DTYPES[x.dtype.name],
            "shape": list(x.shape),
            "data_offsets": [begin, self._spool.tell()],
        }

    def finish(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write the file: sizes, names, then the arrays."""
        metadata = {"format": FORMAT, "version": VERSION, "content": json.dumps(content)}
        header = json.dumps({"__metadata__": metadata, **self._header}).encode()
        header += b" " * (-len(header) % 8)
        self._spool.seek(0)
        with replacing(path) as file:
            file.write(struct.pack("<Q", len(header)) + header)
            shutil.copyfileobj(self._spool, file)


class _Tracer(Visitor):
    """Writes the arrays of each call, and keeps none."""

    def __init__(self, writer: _Writer):
        self._writer = writer
        self._count, self._open = 0, []

    def enter(self, layer: Layer, arrays: list[np.ndarray]) -> None:
        self._open.append(self._count)
        self._count += 1
        self._add("in", self._open[-1], arrays)

    def leave(self, layer: Layer, arrays: list[np.ndarray]) -> None:
        self._add("out", self._open.pop(), arrays)

    def _add(self, side: str, number: int, arrays: list[np.ndarray]) -> None:
        for index, x in enumerate(arrays):
            self._writer.add(_key((number, side, index)), x)


def _key(spot: Spot) -> str:
    number, side, index = spot
    return f"calls.{number}.{side}.{index}"


def _described(call: Call) -> dict[str, Any]:
    return {
        "path": call.layer.path,
        "kind": call.layer.kind,
        "parameters": list(call.layer.parameters),
        "inputs": len(call.inputs),
        "outputs": len(call.outputs),
        "end": call.end,
    }


def _write_gradients(side: Side, writer: _Writer) -> dict[str, float]:
    """Write the gradients of pieces on the model's own rails; return how rounding moves each."""
    rng = randomness.generator(1, "trace")
    exact, *moved = (
        _gradients(side, noise) for noise in (lambda x: x, *(noise_of(rng) for _ in range(DRAWS)))
    )
    for name, x in exact.items():
        writer.add(f"gradients.{name}", x)
    return {name: max(error(one[name], x)[0] for one in moved) for name, x in exact.items()}


def _gradients(side: Side, noise: Noise) -> Arrays:
    rails = {call.number: call for call in side.calls}
    ends = side.run(Rails(rails)).ends
    pull = side.probe.pullback(lambda: Rails(rails, noise), side.inputs)
    by_start, by_name = pull([_cotangent(side, spot, x.shape) for spot, x in ends.items()])
    return {_key(spot): x for spot, x in zip(ends, by_start, strict=True)} | by_name


def _cotangent(side: Side, spot: Spot, shape: tuple[int, ...]) -> np.ndarray:
    """Draw by the place's name, so that two traces of models alike have the same numbers."""
    number, where, index = spot
    path = side.calls[number].layer.path
    turn = sum(call.layer.path == path for call in side.calls[:number])
    return randomness.generator(0, f"trace {path} {turn} {where} {index}").standard_normal(shape)


class _Noisy(Visitor):
    """Moves everything that goes into or comes out of a layer by up to a rounding unit."""

    def __init__(self, noise: Noise):
        self._noise, self._recorder = noise, Recorder()
        self.calls = self._recorder.calls

    def enter(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self._recorder.enter(layer, arrays)
        return [self._noise(x) for x in arrays]

    def leave(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self._recorder.leave(layer, arrays)
        return [self._noise(x) for x in arrays]


def _rounding(side: Side) -> list[list[float]]:
    """Return of each call how far rounding moves what goes in and what comes out."""
    rng = randomness.generator(0, "trace")
    runs = [side.run(_Noisy(noise_of(rng))).calls for _ in range(DRAWS)]
    return [
        [
            max(largest_error(call.arrays(where), run[call.number].arrays(where)) for run in runs)
            for where in ("in", "out")
        ]
        for call in side.calls
    ]


@dataclasses.dataclass
class Trace:
    """A trace that was read; it stands for a `Side` that can't run.

    Attributes:
        calls, parameters: as of a `Side`.
        record: has the ``events`` of a `Recorder`.
        gradients: ``{spot or name: array}``.
        rounding: ``{(number of the call, side): how far rounding moves it}``.
        gradient_rounding: the same of the gradients.
    """

    calls: list[Call]
    parameters: Arrays
    record: Recorder
    gradients: dict[Spot | str, np.ndarray]
    rounding: dict[tuple[int, str], float]
    gradient_rounding: dict[Spot | str, float]

    @property
    def held(self) -> list[np.ndarray]:
        """None: what a call was given in containers is not in a trace."""
        return []

    def owned(self, call: Call) -> list[str]:
        """List the names of the parameters of a call's layer and of the layers called inside."""
        return [name for x in self.calls[call.number : call.end] for name in x.layer.named]


def read(path: str | Path) -> Trace:
    """Read a trace.

    Raises:
        ValueError: it is none, or cut off.
        FileNotFoundError: there is none.
    """
    path = Path(path)
    _check_size(path)
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
                raise ValueError(f"{path}: is no trace of version {VERSION}")
            content = json.loads(metadata["content"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: is no trace ({error})") from None
    return _built(content, arrays)


def _check_size(path: Path) -> None:
    """Raise a ValueError where the file is not as long as its header says."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            raise ValueError(f"{path}: is no trace, or cut off in its header ({size} bytes)")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ValueError(f"{path}: is no trace: its header is not JSON") from None
    entries = [x for name, x in header.items() if name != "__metadata__"]
    wanted = 8 + length + max((x["data_offsets"][1] for x in entries), default=0)
    if size != wanted:
        raise ValueError(f"{path}: is cut off: has {size} bytes, must have {wanted}")


def _built(content: Mapping[str, Any], arrays: Arrays) -> Trace:
    parameters, gradients = {}, {}
    for name, x in arrays.items():
        kind, _, rest = name.partition(".")
        if kind == "parameters":
            parameters[rest] = x
        elif kind == "gradients":
            gradients[_spot(rest)] = x
    calls = []
    for number, one in enumerate(content["calls"]):
        names = {name: f"{one['path']}.{name}".lstrip(".") for name in one["parameters"]}
        layer = Layer(one["path"], one["kind"], {k: parameters[v] for k, v in names.items()})
        inputs, outputs = (
            [arrays[_key((number, where, i))] for i in range(one[count])]
            for where, count in (("in", "inputs"), ("out", "outputs"))
        )
        calls.append(Call(layer, number, inputs, outputs, one["end"]))
    rounding = {
        (number, where): size
        for number, sizes in enumerate(content["rounding"])
        for where, size in zip(("in", "out"), sizes, strict=True)
    }
    moved = {_spot(name): size for name, size in content["gradients"].items()}
    return Trace(calls, parameters, _replayed(calls), gradients, rounding, moved)


def _spot(name: str) -> Spot | str:
    if not name.startswith("calls."):
        return name
    _, number, side, index = name.split(".")
    return int(number), side, int(index)


def _replayed(calls: Sequence[Call]) -> Recorder:
    """Put the calls into the order in which their inputs and outputs came up."""
    record, opened = Recorder(), []
    for call in calls:
        while opened and opened[-1].end <= call.number:
            record.events.append((opened.pop(), "out"))
        opened.append(call)
        record.calls.append(call)
        record.events.append((call, "in"))
    record.events += [(call, "out") for call in reversed(opened)]
    return record
