"""Checkpoints: one `safetensors` file that every framework reads, with all that a model needs.

The tensors are the canonical parameters under their names and, when training is to go on, the
optimiser's moments as ``training.m.NAME`` and ``training.v.NAME``. The file's metadata is::

    format, version   that this is such a file, and which kind
    sha256            of the whole file, with zeros in its own place
    content           as JSON: class and configuration of the model, vocabularies, the state of
                      training, and whatever else the writer wants to keep

Without training state the tensors are a PyTorch state dict as they are:
``module.load_state_dict(safetensors.torch.load_file(path))``. Nothing is pickled, and everything is
checked before a model is built: a file is read as it was written, or not at all.
"""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from d2l_ext import checks
from d2l_ext.config import build, describe
from d2l_ext.data.subwords import Subwords
from d2l_ext.data.vocabulary import Vocab
from d2l_ext.files import replacing
from d2l_ext.interface import Arrays, Backend, Model, State, Trainer

FORMAT, VERSION = "d2l_ext checkpoint", "1"
MOMENTS = ("m", "v")
_NO_DIGEST = "0" * 64
LARGEST = 1e15  # what no parameter or moment of a model that works comes near
LONGEST = 1_000_000  # what a length may be, of which a small model has no tensor


def example_inputs(
    description: Mapping[str, Any], parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return inputs of a model, from which sizes of weights follow.

    Args:
        description: of a translator, a language model, BERT or ViT, as `describe` returns it.
        parameters: its canonical parameters.
    """
    tokens, lens = np.zeros((1, 2), np.int64), np.array([2])
    match description["class"]:
        case "EncoderDecoder" | "BERTEncoder":
            return tokens, tokens, lens
        case "BERTMaskLM":
            return tokens, tokens, lens, np.zeros((1, 1), np.int64)
        case "ViT":
            size, _ = checks.patches(
                *(description["config"][k] for k in ("img_size", "patch_size"))
            )
            channels = parameters["patch_embedding.conv.weight"].shape[1]
            return (np.zeros((1, channels, *size), np.float32),)
        case _:
            return (tokens,)


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or does not fit; the message says which file and why."""


@dataclasses.dataclass
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        model: the model's description, ``{"class": name, "config": arguments}``.
        parameters: ``{canonical name: array}``.
        src_vocab, tgt_vocab: the vocabularies, or None.
        training: the state of training as `Trainer.state` gives it, or None.
        seed: the seed of the model's initial parameters and dropout masks.
        info: anything else, as JSON has it.
    """

    model: dict[str, Any]
    parameters: Arrays
    src_vocab: Vocab | None = None
    tgt_vocab: Vocab | None = None
    training: State | None = None
    seed: int = 0
    info: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The parameters' dtype."""
        return str(next(iter(self.parameters.values())).dtype)

    @property
    def subwords(self) -> tuple[Subwords, Subwords] | None:
        """The vocabularies, if both are subwords."""
        src, tgt = self.src_vocab, self.tgt_vocab
        return (src, tgt) if isinstance(src, Subwords) and isinstance(tgt, Subwords) else None

    def build(self, backend: Backend, dtype: str | None = None) -> Model:
        """Build the model in a framework.

        Args:
            backend: from `d2l_ext.backend`.
            dtype: by default that of the parameters.

        Returns:
            A `Model` with these parameters.

        Raises:
            CheckpointError: there is no such class, or the parameters do not fit it.
        """
        try:
            module = build(backend.api, self.model)
            inputs = example_inputs(self.model, self.parameters)
            model = backend.model(module, *inputs, seed=self.seed, dtype=dtype or self.dtype)
            model.load_parameters(self.parameters)
        except Exception as error:  # what a framework raises where sizes do not fit is its own
            raise CheckpointError(f"the checkpoint's model: {error}") from error
        return model


def check_marks(path: str | Path, side: str, vocab: Vocab, marks: Iterable[str]) -> None:
    """Raise a CheckpointError where a vocabulary lacks a mark that texts are framed with."""
    for mark in marks:
        if mark not in vocab:
            raise CheckpointError(f"{path}: {side}: lacks {mark}")


def save(
    path: str | Path,
    model: Model,
    src_vocab: Vocab | None = None,
    tgt_vocab: Vocab | None = None,
    trainer: Trainer | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: where to; a file there is replaced when the new one is complete.
        model: a `Model`.
        src_vocab, tgt_vocab: its vocabularies.
        trainer: given if training is to go on from this file.
        info: a dictionary of anything else that JSON can hold.
    """
    state = None if trainer is None else trainer.state()
    tensors = model.parameters()
    if state is not None:
        for moment in MOMENTS:
            tensors |= {f"training.{moment}.{name}": x for name, x in state[moment].items()}
    content = {
        "model": describe(model.module),
        "src_vocab": written(src_vocab),
        "tgt_vocab": written(tgt_vocab),
        "num_steps": None if state is None else state["num_steps"],
        "seed": model.seed,
        "info": info or {},
    }
    metadata = {"format": FORMAT, "version": VERSION, "sha256": _NO_DIGEST}
    metadata["content"] = json.dumps(content, ensure_ascii=False)
    data = format_tensors({k: np.ascontiguousarray(x) for k, x in tensors.items()}, metadata)
    digest = hashlib.sha256(data).hexdigest()
    with replacing(path) as file:
        file.write(_with_digest(data, _NO_DIGEST, digest))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a file that `save` wrote.

    Returns:
        A `Checkpoint`.

    Raises:
        CheckpointError: it is no checkpoint, is damaged, has an unknown version, or its parts do
            not fit together.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _parse(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error.__cause__


def _parse(data: bytes) -> Checkpoint:
    metadata = _metadata(data)
    if metadata.get("format") != FORMAT:
        raise CheckpointError("is a safetensors file, but no checkpoint of d2l_ext")
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"has version {metadata.get('version')!r}, but this d2l_ext reads version {VERSION!r}"
        )
    digest = metadata.get("sha256", "")
    if hashlib.sha256(_with_digest(data, digest, _NO_DIGEST)).hexdigest() != digest:
        raise CheckpointError("is damaged: its SHA-256 is not the one it was written with")
    try:
        tensors, content = parse_tensors(data), json.loads(metadata["content"])
        return _checkpoint(tensors, content)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"has not the content of a checkpoint: {error!r}") from error


def _header(data: bytes) -> int:
    """Return the end of the file's header, which starts at byte 8."""
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else None
    if size is None or data[8:9] != b"{":
        raise CheckpointError("is no safetensors file")
    if 8 + size > len(data):
        raise CheckpointError(f"is truncated: it has {len(data)} bytes, its header ends after that")
    return 8 + size


def _metadata(data: bytes) -> dict[str, str]:
    try:
        header = json.loads(data[8 : _header(data)])
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except CheckpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"is damaged: its header cannot be read ({error})") from error
    if _header(data) + end > len(data):
        raise CheckpointError(
            f"is truncated: it has {len(data)} bytes, but must have {_header(data) + end}"
        )
    return metadata if isinstance(metadata, dict) else {}


def _with_digest(data: bytes, old: str, new: str) -> bytes:
    """Replace the digest in the header."""
    end = _header(data)
    return data[:end].replace(str(old).encode(), new.encode(), 1) + data[end:]


def _checkpoint(tensors: Arrays, content: dict[str, Any]) -> Checkpoint:
    vocabularies = {side: read_vocab(side, content) for side in ("src_vocab", "tgt_vocab")}
    parameters = {k: x for k, x in tensors.items() if not k.startswith("training.")}
    if not parameters:
        raise CheckpointError("has no parameters")
    if not isinstance(content["info"], dict):
        raise CheckpointError(f"its info: got {content['info']!r}, must be a dictionary")
    training: State | None = None
    if content["num_steps"] is not None:
        m, v = (_moment(moment, tensors, parameters) for moment in MOMENTS)
        training = {"num_steps": content["num_steps"], "m": m, "v": v}
    model = content["model"]
    _check_description(model)
    _check_numbers(tensors)
    _check_sizes(model, tensors)
    for name, least in (("num_steps", 0), ("seed", None)):
        _check_whole(name, content[name], least)
    _check_vocab(model, "encoder", vocabularies["src_vocab"], "src_vocab")
    _check_vocab(model, "decoder", vocabularies["tgt_vocab"], "tgt_vocab")
    return Checkpoint(
        model=model,
        parameters=parameters,
        training=training,
        seed=content["seed"],
        info=content["info"],
        **vocabularies,
    )


def _moment(moment: str, tensors: Arrays, parameters: Arrays) -> Arrays:
    """Return one of Adam's moments, by canonical name."""
    prefix = f"training.{moment}."
    found = {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}
    if found.keys() != parameters.keys():
        raise CheckpointError(f"its training state ({moment}) has not the parameters' names")
    for name, x in found.items():
        if x.shape != parameters[name].shape:
            raise CheckpointError(
                f"{prefix}{name}: got shape {x.shape}, must be {parameters[name].shape}"
            )
    return found


def _check_description(model: Any) -> None:
    """Check that a model's description has classes and configurations where they belong."""
    parts = (model.get("class"), model.get("config")) if isinstance(model, dict) else (None, None)
    if not isinstance(parts[0], str) or not isinstance(parts[1], dict):
        raise CheckpointError("the description of its model lacks a class or a configuration")
    for value in parts[1].values():
        if isinstance(value, dict):
            _check_description(value)


def _check_numbers(tensors: Arrays) -> None:
    """Check that all tensors have one floating dtype, and values that a model can have."""
    dtypes = {str(x.dtype) for x in tensors.values()}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise CheckpointError(f"has tensors of {', '.join(sorted(dtypes))}, must be all float32")
    for name, x in tensors.items():
        largest = np.abs(x).max(initial=0)
        if not largest <= LARGEST:  # NaN is not
            raise CheckpointError(f"{name}: has a value of {largest:g}, beyond {LARGEST:g}")


def _check_sizes(model: Mapping[str, Any], tensors: Arrays) -> None:
    """Check sizes by those of the tensors, so that nothing larger than the file is built."""
    total = max(sum(x.size for x in tensors.values()), LONGEST)
    for name, value in model["config"].items():
        if isinstance(value, dict):
            _check_sizes(value, tensors)
        most = len(tensors) if name in ("num_layers", "num_blks", "num_experts") else total
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and not -1 <= number <= most:
                raise CheckpointError(f"{name}: got {number}, which its tensors are too small for")


def _check_whole(name: str, value: Any, least: int | None) -> None:
    """Check a whole number; one that has a least value may be missing."""
    if least is not None and value is None:
        return
    if type(value) is not int or (least is not None and value < least):
        raise CheckpointError(f"{name}: got {value!r}, must be a whole number")


def written(vocab: Vocab | None) -> Any:
    """Return a vocabulary as JSON has it: a list of words, or how subwords are made."""
    if vocab is None:
        return None
    return vocab.to_dict() if isinstance(vocab, Subwords) else vocab.to_list()


def read_vocab(side: str, content: Mapping[str, Any]) -> Vocab | None:
    """Return the vocabulary of a side, "src_vocab" or "tgt_vocab", that `written` made JSON of.

    Raises:
        CheckpointError: it is something else.
    """
    found = content[side]
    if found is None:
        return None
    try:
        if isinstance(found, dict):
            return Subwords.from_dict(found)
        return Vocab.from_tokens_list(found)
    except ValueError as error:
        raise CheckpointError(f"{side}: {error}") from error


def _check_vocab(model: dict[str, Any], part: str, vocab: Vocab | None, side: str) -> None:
    """Check that a vocabulary is as large as the part of the model that uses it takes."""
    config = model["config"]
    part, config = (part, config[part]["config"]) if part in config else ("model", config)
    size = config.get("vocab_size")
    if vocab is not None and size is not None and len(vocab) != size:
        raise CheckpointError(f"{side} has {len(vocab)} tokens, but the {part} takes {size}")
