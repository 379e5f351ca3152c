"""Byte-pair tokens (Sennrich et al., 2016) over the bytes of UTF-8: every text has some."""

import json
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from d2l_ext.data.vocabulary import Vocab

SPACE = "▁"  # how a space at the beginning of a token is shown, as by SentencePiece


class Subwords(Vocab):
    """Tokens between bytes and words, which any text is cut into and put together from exactly.

    A text begins as its bytes, each of which has a character of its own (those of GPT-2), cut into
    words with the space before them. Then two neighbours become one token wherever they stand in
    the list of merges, the earliest first. So case is kept, no script is foreign, and there is no
    ``<unk>``.

    Args:
        marks: tokens that are no text, such as ``<eos>``.
        merges: pairs of tokens, separated by a space, of bytes or of earlier merges.

    Attributes:
        marks, merges: as given.

    Raises:
        ValueError: a mark or a merge that cannot be.
        ImportError: the library `tokenizers` is not installed.
    """

    def __init__(self, marks: Sequence[str], merges: Sequence[str]):
        tokenizers = library()
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        pairs = _pairs(merges, alphabet)
        self.token_freqs = []
        self.marks, self.merges = tuple(marks), tuple(merges)
        # Different merges may lead to one token.
        tokens = list(dict.fromkeys([*alphabet, *map("".join, pairs)]))
        _check_marks(marks, tokens)
        self._index([*marks, *tokens])
        ids = {token: self.token_to_idx[token] for token in tokens}
        self._bpe = tokenizers.Tokenizer(tokenizers.models.BPE(ids, pairs))
        self._bpe.pre_tokenizer = _words(tokenizers)
        self._bytes = tokenizers.decoders.ByteLevel()

    @classmethod
    def train(cls, texts: Iterable[str], size: int, marks: Sequence[str]) -> "Subwords":
        """Merge the most frequent neighbours until there are `size` tokens, or none occurs twice.

        Args:
            texts: strings.
            size: of the vocabulary, marks and 256 bytes included.
            marks: tokens that are no text.

        Raises:
            ValueError: a size that has no room for marks and bytes.
            ImportError: the library `tokenizers` is not installed.
        """
        tokenizers = library()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        least = len(marks) + len(alphabet)
        if size < least:
            raise ValueError(f"size: got {size}, must be at least {least}, the marks and the bytes")
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size - len(marks),
            min_frequency=2,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
        bpe.pre_tokenizer = _words(tokenizers)
        bpe.train_from_iterator((" " + text for text in texts), trainer)
        merges = json.loads(bpe.to_str())["model"]["merges"]
        return cls(marks, [" ".join(pair) for pair in merges])

    @property
    def unk(self) -> int:
        """There is none: what is no token is a mistake.

        Raises:
            ValueError: always.
        """
        raise ValueError("tokens: got one that is none of the subwords, which have no <unk>")

    def split(self, text: str) -> list[str]:
        """Cut a text into tokens; one space is put before it, so that all words look alike."""
        return self._bpe.encode(" " + text).tokens

    def join(self, tokens: Sequence[str]) -> str:
        """Put tokens together; ``join(split(text))`` is the text.

        Marks are left out. Bytes that are no character together, which a model may write, become
        U+FFFD.
        """
        return self._text(token for token in tokens if token not in self.marks).removeprefix(" ")

    def label(self, token: str) -> str:
        """Return a token as a figure shows it: a space as ``▁``, part of a character as U+FFFD."""
        return token if token in self.marks else self._text([token]).replace(" ", SPACE)

    def _text(self, tokens: Iterable[str]) -> str:
        return self._bytes.decode(list(tokens))

    def to_dict(self) -> dict[str, list[str]]:
        """Return what JSON can hold; see `from_dict`."""
        return {"marks": list(self.marks), "merges": list(self.merges)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Subwords":
        """Return the subwords whose `to_dict` was `content`.

        Raises:
            ValueError: it is something else.
        """
        if content.keys() != {"marks", "merges"}:
            raise ValueError(f"got {', '.join(content) or 'nothing'}, must be marks and merges")
        for name, strings in content.items():
            if not isinstance(strings, list) or not all(isinstance(s, str) for s in strings):
                raise ValueError(f"{name}: must be a list of strings")
        return cls(**content)


def library() -> ModuleType:
    """Return the library `tokenizers`.

    Raises:
        ImportError: it is not installed; the message names the extra to install.
    """
    try:
        import tokenizers
    except ImportError:
        raise ImportError(
            "Hugging Face's tokenizers are not installed: pip install 'd2l-ext[subwords]'"
        ) from None
    return tokenizers


def _words(tokenizers: ModuleType) -> Any:
    """Return what cuts a text into words, with GPT-2's rule, and these into bytes."""
    return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)


def _pairs(merges: Sequence[str], alphabet: Sequence[str]) -> list[tuple[str, str]]:
    """Return merges as pairs, each of which must be of bytes or of earlier merges."""
    known, pairs = set(alphabet), []
    for number, merge in enumerate(merges):
        parts = tuple(merge.split(" "))
        if len(parts) != 2 or not known.issuperset(parts):
            raise ValueError(f"merges: got {merge!r} at {number}, must be two tokens before it")
        pairs.append(parts)
        known.add("".join(parts))
    return pairs


def _check_marks(marks: Sequence[str], tokens: Sequence[str]) -> None:
    if len(set(marks)) < len(marks) or not set(marks).isdisjoint(tokens):
        raise ValueError(f"marks: got {list(marks)}, must be distinct, and none of the tokens")
