"""The settings of a training run: from a TOML file and the command line, and back to TOML."""

import dataclasses
import json
import math
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Any

from d2l_ext import checks
from d2l_ext.files import replacing
from d2l_ext.interface import COLUMNS

TRANSLATORS = ("seq2seq", "bahdanau", "luong", "transformer")
MODELS = (*TRANSLATORS, "gpt", "bert", "vit")
MOST_STEPS = 100_000  # tokens of a sentence or a text
SCHEDULES = ("constant", "inverse_sqrt", "cosine")
LEVELS = ("character", "word")
TOKENS = ("words", "subwords")
FEWEST = 256 + 3  # subwords: bytes and marks
POSITIONS = ("rotary", "alibi", "learned")
NORMS = ("rms", "layer")
ACTIVATIONS = ("swiglu", "geglu", "gelu", "gelu_tanh", "relu")
ATTENTIONS = ("dot", "scaled_dot", "cosine", "bilinear", "gaussian", "additive")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides what a training run computes.

    Raises:
        ValueError: a value of the wrong type, out of range, or in contradiction to another.
    """

    backend: str = _setting("torch", "framework that trains: " + ", ".join(COLUMNS))
    model: str = _setting("bahdanau", ", ".join(MODELS))
    data: str = _setting(
        "bundled",
        "bundled, fra-eng or a file with a pair per line; of gpt and bert bundled, time-machine or"
        " a text; of vit bundled (scikit-learn's digits) or an .npz file with images and labels",
    )
    dtype: str = _setting("float32", "float32 or float64")
    seed: int = _setting(0, "seed of everything random")
    embed_size: int = _setting(128, "size of embeddings; a Transformer's is num_hiddens")
    num_hiddens: int = _setting(256, "size of hidden states")
    num_layers: int = _setting(2, "recurrent layers, or blocks of the other models")
    num_heads: int = _setting(4, "heads of the attention of transformer, gpt, bert and vit")
    ffn_num_hiddens: int = _setting(512, "hidden units of the position-wise network of these")
    num_kv_heads: int = _setting(2, "key heads of gpt")
    position: str = _setting("rotary", "how gpt knows positions: " + ", ".join(POSITIONS))
    norm: str = _setting("rms", "normalisation of gpt: " + ", ".join(NORMS))
    activation: str = _setting("swiglu", "of gpt's network: " + ", ".join(ACTIVATIONS))
    window: int = _setting(0, "how many steps gpt looks back; 0 is all")
    num_experts: int = _setting(0, "experts of gpt's network, of which two are asked; 0 is none")
    level: str = _setting("character", "tokens of gpt: " + ", ".join(LEVELS))
    num_steps: int = _setting(64, "tokens of a training text of gpt, or of a line of bert")
    patch_size: int = _setting(2, "height and width of vit's patches")
    attention: str = _setting("bilinear", "Luong's score: " + ", ".join(ATTENTIONS))
    dropout: float = _setting(0.1, "dropout rate")
    buckets: tuple[int, ...] = _setting(
        (8, 12, 16),
        "lengths that sentences are padded to, <eos> included; longer ones are left out",
    )
    tokens: str = _setting("words", "of sentences: words as in D2L, or subwords (byte pairs)")
    vocab_size: int = _setting(8000, "most subwords of each language, marks and 256 bytes included")
    min_freq: int = _setting(2, "a rarer word is <unk>")
    max_pairs: int = _setting(0, "only the first pairs of the data; 0 is all")
    val_fraction: float = _setting(0.05, "share of sentences, text or images for validation")
    test_fraction: float = _setting(0.05, "share of sentences or images for the test")
    epochs: int = _setting(10, "times through the data")
    batch_size: int = _setting(64, "sentence pairs, texts or images of a step")
    lr: float = _setting(0.002, "largest learning rate")
    schedule: str = _setting("constant", "of the learning rate: " + ", ".join(SCHEDULES))
    warmup: int = _setting(0, "steps in which the learning rate rises from 0")
    max_norm: float = _setting(1.0, "largest norm of the gradient; 0 is no clipping")
    teacher_forcing_ratio: float = _setting(1.0, "probability of feeding the true token")
    patience: int = _setting(0, "stop after so many epochs without a better model; 0 is never")
    save_every: int = _setting(500, "steps between checkpoints within an epoch; 0 is none")
    bleu_sentences: int = _setting(500, "validation sentences translated each epoch")

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, _typed(spec, getattr(self, spec.name)))
        checks.choice("backend", self.backend, COLUMNS)
        checks.choice("model", self.model, MODELS)
        checks.choice("dtype", self.dtype, ("float32", "float64"))
        checks.choice("schedule", self.schedule, SCHEDULES)
        checks.choice("attention", self.attention, ATTENTIONS)
        checks.choice("position", self.position, POSITIONS)
        checks.choice("norm", self.norm, NORMS)
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("level", self.level, LEVELS)
        checks.choice("tokens", self.tokens, TOKENS)
        if self.vocab_size < FEWEST:
            raise ValueError(
                f"vocab_size: got {self.vocab_size}, must be at least {FEWEST}, of marks and bytes"
            )
        checks.rate(self.dropout)
        for name in _POSITIVE:
            checks.positive(name, getattr(self, name))
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, must be at least 0")
        if not self.buckets or min(self.buckets) < 2:
            raise ValueError(f"buckets: got {list(self.buckets)}, must be lengths of at least 2")
        for name, longest in (("buckets", max(self.buckets)), ("num_steps", self.num_steps)):
            if longest > MOST_STEPS:
                raise ValueError(f"{name}: got {longest}, must be at most {MOST_STEPS}")
        if not self.teacher_forcing_ratio <= 1:
            raise ValueError(
                f"teacher_forcing_ratio: got {self.teacher_forcing_ratio}, must be at most 1"
            )
        if not self.val_fraction > 0 or self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction and test_fraction: got {self.val_fraction} and {self.test_fraction},"
                " must leave something to train on and something to validate with"
            )
        if self.schedule == "inverse_sqrt" and self.warmup == 0:
            raise ValueError("warmup: got 0, but the schedule inverse_sqrt needs some")
        if self.model in ("transformer", "bert", "vit"):
            checks.multiple("num_hiddens", self.num_hiddens, self.num_heads)
        if self.model == "gpt":
            checks.heads(self.num_hiddens, self.num_heads, self.num_kv_heads, self.position)

    def learning_rate(self, step: int, num_steps: int) -> float:
        """Return the learning rate of a step, counted from 1, of `num_steps` in all.

        It rises linearly in the warmup and then stays (constant), falls with 1 / sqrt(step)
        (inverse_sqrt), or falls to 0 along a half cosine (cosine).
        """
        if step <= self.warmup:
            return self.lr * step / self.warmup
        if self.schedule == "inverse_sqrt":
            return self.lr * math.sqrt(self.warmup / step)
        if self.schedule == "cosine":
            share = (step - 1 - self.warmup) / max(num_steps - self.warmup, 1)
            return self.lr * (1 + math.cos(math.pi * min(share, 1))) / 2
        return self.lr

    def to_toml(self) -> str:
        """Return the settings as a TOML file, each with a comment that says what it is."""
        lines = [
            f"{spec.name} = {json.dumps(getattr(self, spec.name), ensure_ascii=False)}"
            f"  # {spec.metadata['help']}"
            for spec in dataclasses.fields(self)
        ]
        return "\n".join(lines) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the settings to a TOML file."""
        with replacing(path) as file:
            file.write(self.to_toml().encode())


_POSITIVE = (
    "embed_size",
    "num_hiddens",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "num_steps",
    "patch_size",
    "ffn_num_hiddens",
    "epochs",
    "batch_size",
    "lr",
    "bleu_sentences",
)
_NOT_NEGATIVE = (
    "seed",
    "window",
    "num_experts",
    "min_freq",
    "max_pairs",
    "test_fraction",
    "warmup",
    "max_norm",
    "teacher_forcing_ratio",
    "patience",
    "save_every",
)


def _typed(spec: dataclasses.Field[Any], value: Any) -> Any:
    """Return a value as the setting's type, which TOML and JSON do not always give it."""
    kind = type(spec.default)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    fits = type(value) is kind and value not in (float("inf"), float("-inf"))
    if not fits or (kind is tuple and not all(type(item) is int for item in value)):
        wanted = {tuple: "a list of whole numbers", int: "a whole number"}.get(kind, kind.__name__)
        raise ValueError(f"{spec.name}: got {value!r}, must be {wanted}")
    return value


def read_settings(path: str | Path | None = None, **given: Any) -> Settings:
    """Return settings: the defaults, changed by a TOML file, changed by what is given.

    Raises:
        ValueError: the file is no TOML file, or has an unknown name or a bad value.
    """
    found = {} if path is None else _read_toml(path)
    names = [spec.name for spec in dataclasses.fields(Settings)]
    unknown = [name for name in found if name not in names]
    if unknown:
        raise ValueError(
            f"{path}: unknown setting {', '.join(unknown)}; there are {', '.join(names)}"
        )
    try:
        return Settings(**(found | given))
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path and not given else str(error)) from None


def _read_toml(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise ValueError(f"{path}: is no TOML file: {error}") from None
