"""A text to batches of next-token prediction, for language models."""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from d2l_ext import checks
from d2l_ext.data.vocabulary import Vocab

LEVELS = ("character", "word")
_WORD = re.compile(r"\w+|[^\w\s]|\n")
_BEFORE_PUNCTUATION = re.compile(r" (?=[^\w\s]|\n)|(?<=\n) ")


def split_text(text: str, level: str = "character") -> list[str]:
    """Cut a text into tokens: its characters, or words, punctuation marks and line ends."""
    checks.choice("level", level, LEVELS)
    return list(text) if level == "character" else _WORD.findall(text)


def join_tokens(tokens: Sequence[str], level: str = "character") -> str:
    """Put a text together again; of words, the spaces before punctuation are lost."""
    checks.choice("level", level, LEVELS)
    return (
        "".join(tokens) if level == "character" else _BEFORE_PUNCTUATION.sub("", " ".join(tokens))
    )


class LanguageData:
    """A text as batches (X, Y): Y are the tokens that follow those of X.

    The training part is the beginning of the text, the validation part the rest. An epoch cuts the
    training part into windows of `num_steps` tokens, from an offset that is drawn anew, and mixes
    them: so every token is predicted once in an epoch, and from different windows in different
    epochs. (D2L 1.0 draws from the windows at all offsets, of which most overlap.)

    Args:
        text: a string.
        num_steps: tokens of a window.
        batch_size: windows of a batch.
        level: what a token is, "character" or "word".
        val_fraction: share of the text for validation.
        min_freq: a token seen less often is ``<unk>``.
        vocab: a vocabulary to use instead of the text's own.

    Attributes:
        vocab: its tokens.
        train_tokens, val_tokens: the two parts as ids.
        pad: None; every label counts.

    Raises:
        ValueError: sizes that are not positive, or a text too short for one window of each part.
    """

    pad = None

    def __init__(
        self,
        text: str,
        num_steps: int = 64,
        batch_size: int = 32,
        level: str = "character",
        val_fraction: float = 0.1,
        min_freq: int = 0,
        vocab: Vocab | None = None,
    ):
        checks.positive("num_steps", num_steps)
        checks.positive("batch_size", batch_size)
        checks.share("val_fraction", val_fraction)
        self.num_steps, self.batch_size, self.level = num_steps, batch_size, level
        tokens = split_text(text, level)
        num_train = len(tokens) - round(val_fraction * len(tokens))
        if min(num_train - num_steps, len(tokens) - num_train) < num_steps + 1:
            raise ValueError(
                f"text: got {len(tokens)} tokens, too few for windows of num_steps={num_steps} in a"
                f" training and a validation part (val_fraction={val_fraction})"
            )
        self.vocab = Vocab(tokens, min_freq) if vocab is None else vocab
        ids = np.array(self.vocab[tokens], np.int64)
        self.train_tokens, self.val_tokens = ids[:num_train], ids[num_train:]

    @property
    def num_windows(self) -> int:
        """The number of windows of an epoch, the same whatever its offset."""
        return (len(self.train_tokens) - self.num_steps) // self.num_steps

    @property
    def num_batches(self) -> int:
        """The number of training batches in an epoch."""
        return math.ceil(self.num_windows / self.batch_size)

    def batches(
        self, seed: int, epoch: int, train: bool = True
    ) -> Iterator[
        tuple[Int64[np.ndarray, "batch num_steps"], Int64[np.ndarray, "batch num_steps"]]
    ]:
        """Yield (X, Y), `batch_size` windows at a time; the last batch may be smaller.

        Offset and order of the training windows are drawn in NumPy from (`seed`, `epoch`);
        validation windows come in their order.
        """
        tokens = self.val_tokens
        starts = np.arange(0, len(self.val_tokens) - self.num_steps, self.num_steps)
        if train:
            rng = np.random.default_rng([seed, epoch])
            offset = rng.integers(self.num_steps)
            tokens = self.train_tokens
            starts = offset + self.num_steps * rng.permutation(self.num_windows)
        steps = np.arange(self.num_steps)
        for first in range(0, len(starts), self.batch_size):
            places = starts[first : first + self.batch_size, None] + steps  # (batch, num_steps)
            yield tokens[places], tokens[places + 1]

    def encode(self, text: str) -> Int64[np.ndarray, " num_tokens"]:
        """Turn a text into ids."""
        return np.array(self.vocab[split_text(text, self.level)], np.int64)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Turn ids into a text."""
        return join_tokens(self.vocab.to_tokens(list(map(int, ids))), self.level)
